package assemble

import (
	"encoding/binary"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/level"
	"github.com/voicemill/voicemill/worker/internal/loudness"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// layoutOf returns an empty layout of a chapter of a job that asked for loudness.
func layoutOf(rate int, pauses job.Pauses, name string) *timeline.Layout {
	layout := timeline.NewLayout(rate, pauses)
	if t, ok := level.TargetOf(name); ok {
		layout.Frame(t.Lead, t.TailMin, t.TailMax)
	}
	return layout
}

// cut returns which samples of a rendition are in the file of a job that asked
// for loudness. One that was never measured stays whole.
func cut(name string, s *store.Sound, samples int64, rate int) (skip, kept int64) {
	if _, ok := level.TargetOf(name); !ok || s == nil {
		return 0, samples
	}
	return level.Cut(samples, int64(s.Lead), int64(s.Tail), rate)
}

// levels is how loud the segments of a chapter are to be. A nil one leaves them
// as they are.
type levels struct {
	target level.Target
	mix    level.Mix
	lufs   float64 // of each segment
}

func levelsOf(name string) *levels {
	t, ok := level.TargetOf(name)
	if !ok {
		return nil
	}
	return &levels{target: t}
}

// add notes a segment of the chapter.
func (l *levels) add(g store.Segment) {
	if l != nil && g.Sound != nil {
		l.mix.Add(soundOf(g), g.Samples)
	}
}

// end decides, when all segments are known and the file's length is.
func (l *levels) end(total int64) {
	if l != nil {
		l.lufs = l.mix.LUFS(l.target, total)
	}
}

func soundOf(g store.Segment) level.Sound {
	return level.Sound{LUFS: float64(g.Sound.LUFS), RMS: float64(g.Sound.RMS)}
}

// shaper levels the samples on their way into a file and measures what comes out.
type shaper struct {
	*level.Writer

	levels *levels
	out    *metered
}

func newShaper(w io.Writer, rate int, l *levels) *shaper {
	out := &metered{w: w, meter: loudness.NewMeter(rate, 1)}
	return &shaper{level.NewWriter(out, rate, l.target.Ceiling), l, out}
}

// next has the samples of g follow.
func (s *shaper) next(g store.Segment) {
	gain := 0.0
	if g.Sound != nil {
		gain = level.Gain(soundOf(g), s.levels.lufs)
	}
	s.Gain(gain)
}

// report ends the samples and tells what they are like.
func (s *shaper) report(rate int) (*job.LoudnessReport, error) {
	if err := s.Close(); err != nil {
		return nil, err
	}
	return s.levels.target.Report(s.out.meter.Figures(), rate), nil
}

// metered measures what is written through it, which are whole samples.
type metered struct {
	w       io.Writer
	meter   *loudness.Meter
	samples []int16
}

func (m *metered) Write(b []byte) (int, error) {
	m.samples = m.samples[:0]
	for i := 0; i+1 < len(b); i += bytesPerSample {
		m.samples = append(m.samples, int16(binary.LittleEndian.Uint16(b[i:]))) //nolint:gosec // two's complement
	}
	m.meter.Write(m.samples)
	return m.w.Write(b)
}

// cutter passes left bytes on after the first skip.
type cutter struct {
	w          io.Writer
	skip, left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	n := len(b)
	drop := min(c.skip, int64(len(b)))
	c.skip -= drop
	b = b[drop:]
	b = b[:min(c.left, int64(len(b)))]
	c.left -= int64(len(b))
	if len(b) == 0 {
		return n, nil
	}
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return n, nil
}
