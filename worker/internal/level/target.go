package level

import (
	"math"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/loudness"
)

// Target is a level by name. The zero value changes nothing.
type Target struct {
	Name string
	// Ceiling is the level, in dBTP, under which [Writer] holds the peaks. It is
	// below what is demanded: what encodes the file moves its peaks.
	Ceiling float64
	// Lead is the silence before the first segment, in seconds; that after the
	// last is at least TailMin and at most TailMax.
	Lead, TailMin, TailMax float64

	rms, lufs float64 // what the whole file is to have; 0: the other one counts
	rules     []rule
}

// rule is one figure of a file that is demanded. A bound that is not a number is none.
type rule struct {
	name, unit string
	min, max   float64
	of         func(f loudness.Figures, rate float64) float64
}

// TargetOf returns the target of an output's loudness; ok is false if that asks for none.
//
// The figures of acx are those by which ACX takes audiobooks (RMS -23 to -18 dB,
// peak -3 dB, noise floor -60 dB, 0.5 to 1 s of room tone before and 1 to 5 s
// after, 120 minutes at most), those of ebu-r128 are EBU R 128's (-23 LUFS give
// or take half a LU, -1 dBTP).
func TargetOf(name string) (t Target, ok bool) {
	none := math.NaN()
	switch name {
	case job.LoudnessACX:
		return Target{
			Name: name, Ceiling: -3.5, Lead: .75, TailMin: 1.5, TailMax: 4.5, rms: -21.5,
			rules: []rule{
				{"rms", "dB", -23, -18, func(f loudness.Figures, _ float64) float64 { return f.RMS }},
				{"peak", "dB", none, -3, func(f loudness.Figures, _ float64) float64 { return f.Peak }},
				{"noise_floor", "dB", none, -60, func(f loudness.Figures, _ float64) float64 { return f.NoiseFloor }},
				{"head", "s", .5, 1, func(f loudness.Figures, rate float64) float64 { return float64(f.Lead) / rate }},
				{"tail", "s", 1, 5, func(f loudness.Figures, rate float64) float64 { return float64(f.Tail) / rate }},
				{"length", "s", none, 7200, func(f loudness.Figures, rate float64) float64 { return float64(f.Samples) / rate }},
			},
		}, true
	case job.LoudnessR128:
		return Target{
			Name: name, Ceiling: -2, TailMax: math.Inf(1), lufs: -23,
			rules: []rule{
				{"integrated", "LUFS", -23.5, -22.5, func(f loudness.Figures, _ float64) float64 { return f.LUFS }},
				{"true_peak", "dBTP", none, -1, func(f loudness.Figures, _ float64) float64 { return f.TruePeak }},
			},
		}, true
	}
	return Target{}, false
}

// Report holds what was measured of a file at rate Hz against the figures of t.
// Figures are rounded to a hundredth, after they were compared.
func (t Target) Report(f loudness.Figures, rate int) *job.LoudnessReport {
	r := job.LoudnessReport{Target: t.Name, Pass: true}
	for _, w := range t.rules {
		v := w.of(f, float64(rate))
		ok := !(v < w.min) && !(v > w.max)
		r.Pass = r.Pass && ok
		r.Figures = append(r.Figures, job.LoudnessFigure{
			Name: w.name, Unit: w.unit, Value: math.Round(v*100) / 100, Min: bound(w.min), Max: bound(w.max), Pass: ok,
		})
	}
	return &r
}

func bound(x float64) *float64 {
	if math.IsNaN(x) {
		return nil
	}
	return &x
}

// What is left of a segment's own silence, in seconds, so that no sound that is
// faint is cut.
const (
	keepLead = .03
	keepTail = .06
)

// Cut returns which samples of a segment are kept, at rate Hz: kept of them, after
// the first skip. lead and tail are the silence at its ends.
func Cut(samples, lead, tail int64, rate int) (skip, kept int64) {
	skip = max(0, lead-int64(keepLead*float64(rate)))
	return skip, samples - skip - max(0, tail-int64(keepTail*float64(rate)))
}

// Sound is what is known of a segment's own loudness.
type Sound struct{ LUFS, RMS float64 }

// MaxGain is the most by which a segment is made louder or softer, in dB: what
// would need more is hardly speech.
const MaxGain = 30.0

// Mix gathers the segments of one file. Every segment is brought to the same
// loudness, so that voices match; which, follows from what the whole is to have.
type Mix struct{ power float64 }

// Add adds a segment of so many samples.
func (m *Mix) Add(s Sound, samples int64) {
	if s.LUFS > loudness.Floor {
		m.power += math.Pow(10, (s.RMS-s.LUFS)/10) * float64(samples)
	}
}

// LUFS returns the loudness of each segment of a file of total samples. Where the
// target is an RMS, that of the file is known before it is written: it is the
// sum of the segments' energies over the length, silence included.
func (m *Mix) LUFS(t Target, total int64) float64 {
	if t.rms == 0 || m.power == 0 {
		return t.lufs
	}
	return t.rms - 10*math.Log10(m.power/float64(total))
}

// Gain returns what brings s to the loudness lufs, in dB; nothing for silence.
func Gain(s Sound, lufs float64) float64 {
	if s.LUFS <= loudness.Floor {
		return 0
	}
	return min(max(lufs-s.LUFS, -MaxGain), MaxGain)
}
