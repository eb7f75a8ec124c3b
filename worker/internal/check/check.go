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
	// MaxClipped is the largest share of samples at full scale.
	MaxClipped float64
}

// Default returns limits that suit speech models with a fitted prediction.
func Default() Config {
	return Config{
		MinRatio: 1.0 / 3, MaxRatio: 3, Slack: 1.5,
		MinRMS: 0.001, SilenceLevel: 0.002, MaxSilence: 5, MaxClipped: 0.01,
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
	if !(c.MaxSilence > 0) {
		errs = append(errs, fmt.Errorf("longest silence is %g s; want more than 0", c.MaxSilence))
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
	TooShort  Reason = "too_short"  // much shorter than predicted: cut off
	TooLong   Reason = "too_long"   // much longer than predicted: repeats or babbles
	LongPause Reason = "long_pause" // silence in the middle
	Clipped   Reason = "clipped"    // too many samples at full scale
)

// Says tells the owner of a job what r means.
func (r Reason) Says() string {
	switch r {
	case Empty:
		return "the engine said nothing"
	case Silent:
		return "it is silent"
	case TooShort:
		return "it is much shorter than the text"
	case TooLong:
		return "it is much longer than the text"
	case LongPause:
		return "it has a long pause in the middle"
	case Clipped:
		return "it is distorted"
	case Good:
	}
	return "it was found bad"
}

// Verdict is what [Judge] found.
type Verdict struct {
	OK      bool
	Reason  Reason
	Detail  string  // the numbers behind Reason, for logs
	Seconds float64 // length
	RMS     float64 // of full scale 1
	Peak    float64 // of full scale 1
	Pause   float64 // seconds of the longest silence between two sounds
	Clipped float64 // share of samples at full scale
}

// Judge looks at samples of mono audio at rate Hz. predicted is the expected
// length in seconds, 0 if there is no prediction. A text without letters and
// digits may rightly be silent; that is for the caller to know.
func Judge(cfg Config, samples []int16, rate int, predicted float64) Verdict {
	v := measure(cfg, samples, rate)
	v.Reason, v.Detail = v.fault(cfg, predicted)
	v.OK = v.Reason == Good
	return v
}

func (v Verdict) fault(cfg Config, predicted float64) (Reason, string) {
	switch {
	case v.Seconds == 0:
		return Empty, "no samples"
	case v.Peak < cfg.SilenceLevel || v.RMS < cfg.MinRMS:
		return Silent, fmt.Sprintf("peak %.4f, RMS %.5f", v.Peak, v.RMS)
	case predicted > 0 && v.Seconds < predicted*cfg.MinRatio && v.Seconds < predicted-cfg.Slack:
		return TooShort, fmt.Sprintf("%.2f s where %.2f s were predicted", v.Seconds, predicted)
	case predicted > 0 && v.Seconds > predicted*cfg.MaxRatio && v.Seconds > predicted+cfg.Slack:
		return TooLong, fmt.Sprintf("%.2f s where %.2f s were predicted", v.Seconds, predicted)
	case v.Pause > cfg.MaxSilence:
		return LongPause, fmt.Sprintf("%.2f s of silence within", v.Pause)
	case v.Clipped > cfg.MaxClipped:
		return Clipped, fmt.Sprintf("%.1f %% of samples at full scale", 100*v.Clipped)
	}
	return Good, ""
}

// measure fills everything of a Verdict that does not depend on the request.
func measure(cfg Config, samples []int16, rate int) Verdict {
	if len(samples) == 0 || rate <= 0 {
		return Verdict{}
	}
	const fullScale = -math.MinInt16
	silence := int32(cfg.SilenceLevel * fullScale)
	var sum uint64
	var peak int32
	var clipped, gap, longest int
	sounded := false
	for _, s := range samples {
		level := max(int32(s), -int32(s))
		sum += uint64(level) * uint64(level) //nolint:gosec // level is not negative
		peak = max(peak, level)
		if level >= math.MaxInt16 {
			clipped++
		}
		if level <= silence {
			gap++
			continue
		}
		if sounded { // silence before the first sound and after the last is a matter of trimming
			longest = max(longest, gap)
		}
		sounded, gap = true, 0
	}
	n := float64(len(samples))
	return Verdict{
		Seconds: n / float64(rate),
		RMS:     math.Sqrt(float64(sum)/n) / fullScale,
		Peak:    float64(peak) / fullScale,
		Pause:   float64(longest) / float64(rate),
		Clipped: float64(clipped) / n,
	}
}
