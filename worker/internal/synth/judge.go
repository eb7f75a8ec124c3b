package synth

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// unspeakableSeconds is how long the silence of a text without letters and digits
// lasts if the engine says nothing at all.
const unspeakableSeconds = 0.1

// judge turns an engine's answer into what is stored, or says what is wrong with it.
func (r *run) judge(ctx context.Context, t deliver.Task, res engine.Result) (deliver.Speech, error) {
	s := deliver.Speech{Audio: res.Audio, Sentences: res.Sentences, Words: res.Words}
	if s.Audio.Rate <= 0 {
		return s, &job.Error{Op: "synth.judge", JobID: t.Bundle.JobID, Kind: job.Internal, Err: fmt.Errorf("audio at %d Hz", s.Audio.Rate)}
	}
	v := check.Judge(r.cfg.Check, s.Audio.Samples, s.Audio.Rate, t.Segment.PredictedSeconds)
	if !v.OK {
		if speakable := (engine.Request{Text: t.Segment.Text}).Speakable(); speakable {
			r.deps.Log.WarnContext(ctx, "audio was refused", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N),
				slog.String("reason", string(v.Reason)), slog.String("detail", v.Detail))
			return s, &job.Error{
				Op: "synth.judge", JobID: t.Bundle.JobID, Kind: job.Engine,
				Public: fmt.Sprintf("The audio was not usable: %s.", explain(v.Reason)), Err: fmt.Errorf("%s: %s", v.Reason, v.Detail),
			}
		}
		s.Verdict = string(v.Reason)
		if len(s.Audio.Samples) == 0 {
			s.Audio.Samples = make([]int16, int(unspeakableSeconds*float64(s.Audio.Rate)))
		}
	}
	return r.rates.convert(s, t.Segment.SampleRate)
}

// explain says for the owner of a job what a judge's reason means.
func explain(r check.Reason) string {
	switch r {
	case check.Empty:
		return "the engine said nothing"
	case check.Silent:
		return "it is silent"
	case check.TooShort:
		return "it is much shorter than the text"
	case check.TooLong:
		return "it is much longer than the text"
	case check.LongPause:
		return "it has a long pause in the middle"
	case check.Clipped:
		return "it is distorted"
	default:
		return "it was found bad"
	}
}

// rates keeps the resamplers of one pool: one, as a rule.
type rates struct {
	mu    sync.Mutex
	known map[[2]int]*resample.Resampler // under mu; bounded by the rates that voices may have
}

func newRates() *rates { return &rates{known: map[[2]int]*resample.Resampler{}} }

func (r *rates) get(from, to int) (*resample.Resampler, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.known[[2]int{from, to}]; ok {
		return c, nil
	}
	c, err := resample.New(from, to)
	if err != nil {
		return nil, err
	}
	r.known[[2]int{from, to}] = c
	return c, nil
}

// convert brings s to the rate that its segment was planned for.
func (r *rates) convert(s deliver.Speech, rate int) (deliver.Speech, error) {
	from := s.Audio.Rate
	if rate == 0 || rate == from {
		return s, nil
	}
	c, err := r.get(from, rate)
	if err != nil {
		return s, &job.Error{Op: "synth.convert", Kind: job.Internal, Err: err}
	}
	s.Audio = engine.Audio{Rate: rate, Samples: c.Resample(nil, s.Audio.Samples)}
	s.Sentences, s.Words = scale(s.Sentences, from, rate), scale(s.Words, from, rate)
	return s, nil
}

func scale(marks []engine.Mark, from, to int) []engine.Mark {
	out := make([]engine.Mark, len(marks))
	for i, m := range marks {
		m.Sample = m.Sample * int64(to) / int64(from)
		out[i] = m
	}
	return out
}
