package check

import (
	"errors"
	"fmt"
	"math"
)

// Config holds the limits of a good segment.
type Config struct {
	// MinRatio and MaxRatio bound actual by predicted seconds. For a prediction
	// that is rough, such as one from the number of characters, allow more.
	MinRatio, MaxRatio float64
	// Slack is how many seconds the audio may be off whatever the ratio says, so
	// that very short texts, mostly lead-in and decay, are not judged by it.
	Slack float64
	// MinRMS is the quietest level of a whole segment, of full scale 1.
	MinRMS float64
	// SilenceLevel is the peak, of full scale 1, under which a passage is silent.
	SilenceLevel float64
	// MaxSilence is the longest silence between two sounds, in seconds.
	MaxSilence float64
	// MaxEdge is the longest silence before the first sound or after the last, in seconds.
	MaxEdge float64
	// MaxClipped is the largest share of samples at full scale.
	MaxClipped float64
	// MaxOffset is the largest mean of the samples, of full scale 1: a speaker's
	// membrane would be held out of its rest.
	MaxOffset float64
	// MinSmooth is the least correlation of neighbouring samples. Speech has over 0.6 at
	// 8 kHz and over 0.8 at 24 kHz; noise, and samples that were cut in the middle of a
	// byte pair or have their bytes swapped, have about 0.
	MinSmooth float64
	// MaxRepeat is how many seconds may sound twice in a text that does not repeat itself,
	// in audio that is longer for it than was expected by at least half of them.
	MaxRepeat float64
}

// Default returns limits that suit speech models with a fitted prediction.
func Default() Config {
	return Config{
		MinRatio: 1.0 / 3, MaxRatio: 3, Slack: 1.5,
		MinRMS: 0.001, SilenceLevel: 0.002, MaxSilence: 5, MaxEdge: 8, MaxClipped: 0.01,
		MaxOffset: 0.05, MinSmooth: 0.15, MaxRepeat: 0.9,
	}
}

// Validate reports limits that contradict each other.
func (c Config) Validate() error {
	var errs []error
	if !(c.MinRatio >= 0 && c.MinRatio < 1 && c.MaxRatio > 1) {
		errs = append(errs, fmt.Errorf("ratios are %g to %g; want them on both sides of 1", c.MinRatio, c.MaxRatio))
	}
	if !(c.Slack >= 0) {
		errs = append(errs, fmt.Errorf("slack is %g s; want at least 0", c.Slack))
	}
	if !(c.MinRMS >= 0 && c.MinRMS < 1) || !(c.SilenceLevel >= 0 && c.SilenceLevel < 1) {
		errs = append(errs, fmt.Errorf("levels are %g and %g; want them from 0 to 1", c.MinRMS, c.SilenceLevel))
	}
	if !(c.MaxSilence > 0) || !(c.MaxEdge > 0) || !(c.MaxRepeat > 0) {
		errs = append(errs, fmt.Errorf("longest silences are %g and %g s, longest repeat %g s; want more than 0", c.MaxSilence, c.MaxEdge, c.MaxRepeat))
	}
	if !(c.MaxOffset > 0) || !(c.MinSmooth < 1) {
		errs = append(errs, fmt.Errorf("offset is %g, want more than 0; smoothness %g, want less than 1", c.MaxOffset, c.MinSmooth))
	}
	if !(c.MaxClipped > 0) {
		errs = append(errs, fmt.Errorf("clipped share is %g; want more than 0", c.MaxClipped))
	}
	return errors.Join(errs...)
}

// Reason names why a segment is not good. The set is closed; it is a metric
// label.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	Good      Reason = ""           // nothing was found
	Empty     Reason = "empty"      // no samples
	Silent    Reason = "silent"     // all of it is silent or far too quiet
	Noise     Reason = "noise"      // no sound that a voice could make
	TooShort  Reason = "too_short"  // much shorter than expected: cut off
	TooLong   Reason = "too_long"   // much longer than expected: babbles
	LongPause Reason = "long_pause" // silence in the middle
	LongEdge  Reason = "long_edge"  // silence before or after
	Clipped   Reason = "clipped"    // too many samples at full scale
	Offset    Reason = "offset"     // the samples are not about zero
	Repeated  Reason = "repeated"   // a stretch sounds twice
)

// says is what a reason means, for the owner of a job.
var says = map[Reason]string{
	Empty:     "the engine said nothing",
	Silent:    "it is silent",
	Noise:     "it is noise",
	TooShort:  "it is much shorter than the text",
	TooLong:   "it is much longer than the text",
	LongPause: "it has a long pause in the middle",
	LongEdge:  "it has a long silence at its beginning or end",
	Clipped:   "it is distorted",
	Offset:    "it has a constant offset",
	Repeated:  "it says something twice",
}

// Says tells the owner of a job what r means.
func (r Reason) Says() string {
	if text, ok := says[r]; ok {
		return text
	}
	return "it was found bad"
}

// Expected is what the audio of a text should be like.
type Expected struct {
	// Seconds is the length, 0 if there is no expectation.
	Seconds float64
	// MinRatio and MaxRatio bound actual by expected seconds; Slack is how many seconds
	// the audio may be off whatever they say.
	MinRatio, MaxRatio, Slack float64
	// Repeats says that the text repeats itself, see [Repeats].
	Repeats bool
}

// Rough is what is expected of a text of predicted seconds, 0 if there is no
// prediction, in a voice that nothing is known of.
func (c Config) Rough(predicted float64) Expected {
	return Expected{Seconds: predicted, MinRatio: c.MinRatio, MaxRatio: c.MaxRatio, Slack: c.Slack}
}

// Verdict is what [Judge] found.
type Verdict struct {
	OK       bool
	Odd      bool // it is good, and would not be under limits half as wide
	Reason   Reason
	Detail   string  // the numbers behind Reason, for logs
	Seconds  float64 // length
	RMS      float64 // of full scale 1
	Peak     float64 // of full scale 1
	Lead     float64 // seconds before the first sound; all of them if there is none
	Trail    float64 // seconds after the last sound
	Pause    float64 // seconds of the longest silence between two sounds
	Clipped  float64 // share of samples at full scale
	Offset   float64 // mean of the samples, of full scale 1
	Smooth   float64 // correlation of neighbouring samples, without Offset
	Repeated float64 // seconds of the longest stretch that sounds twice
}

// Sounding returns the seconds between the first and the last sound.
func (v Verdict) Sounding() float64 { return v.Seconds - v.Lead - v.Trail }

// Judge looks at samples of mono audio at rate Hz. A text without letters and
// digits may rightly be silent; that is for the caller to know.
func Judge(cfg Config, samples []int16, rate int, want Expected) Verdict {
	v := measure(cfg, samples, rate)
	v.Reason, v.Detail = v.fault(cfg, want)
	v.OK = v.Reason == Good
	if v.OK {
		reason, _ := v.fault(cfg.strict(), want.strict())
		v.Odd = reason != Good
	}
	return v
}

// strict returns half of what c allows of what a good segment has little of.
func (c Config) strict() Config {
	c.MaxSilence, c.MaxEdge, c.MaxClipped, c.MaxOffset, c.MaxRepeat = c.MaxSilence/2, c.MaxEdge/2, c.MaxClipped/2, c.MaxOffset/2, c.MaxRepeat/2
	return c
}

// strict returns limits of the length that are nearer by the root of their distance.
func (e Expected) strict() Expected {
	e.MinRatio, e.MaxRatio, e.Slack = math.Sqrt(e.MinRatio), math.Sqrt(e.MaxRatio), e.Slack/2
	return e
}

func (v Verdict) fault(cfg Config, want Expected) (Reason, string) {
	sounding := v.Sounding()
	short := want.Seconds > 0 && sounding < want.Seconds*want.MinRatio && sounding < want.Seconds-want.Slack
	long := want.Seconds > 0 && sounding > want.Seconds*want.MaxRatio && sounding > want.Seconds+want.Slack
	lengths := fmt.Sprintf("%.2f s where %.2f s were expected", sounding, want.Seconds)
	switch {
	case v.Seconds == 0:
		return Empty, "no samples"
	case v.Peak < cfg.SilenceLevel || v.RMS < cfg.MinRMS:
		return Silent, fmt.Sprintf("peak %.4f, RMS %.5f", v.Peak, v.RMS)
	case v.Offset > cfg.MaxOffset || v.Offset < -cfg.MaxOffset:
		return Offset, fmt.Sprintf("mean %.3f", v.Offset)
	case v.Smooth < cfg.MinSmooth:
		return Noise, fmt.Sprintf("neighbouring samples correlate by %.2f", v.Smooth)
	case short:
		return TooShort, lengths
	case v.Repeated > cfg.MaxRepeat && !want.Repeats && sounding > want.Seconds+v.Repeated/2:
		return Repeated, fmt.Sprintf("%.2f s sound twice", v.Repeated)
	case long:
		return TooLong, lengths
	case v.Pause > cfg.MaxSilence:
		return LongPause, fmt.Sprintf("%.2f s of silence within", v.Pause)
	case max(v.Lead, v.Trail) > cfg.MaxEdge:
		return LongEdge, fmt.Sprintf("%.2f s of silence before, %.2f s after", v.Lead, v.Trail)
	case v.Clipped > cfg.MaxClipped:
		return Clipped, fmt.Sprintf("%.1f %% of samples at full scale", 100*v.Clipped)
	}
	return Good, ""
}
