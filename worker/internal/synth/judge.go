package synth

import (
	"sync"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// unspeakableSeconds is how long the silence of a text without letters and digits
// lasts if the engine says nothing at all.
const unspeakableSeconds = 0.1

// speechOf turns an answer that was judged good into what is stored.
func (r *run) speechOf(u utterance, a fleet.Answer) (deliver.Speech, error) {
	u.spelling.restore(a.Sentences)
	u.spelling.restore(a.Words)
	s := deliver.Speech{Audio: a.Audio, Sentences: a.Sentences, Words: a.Words, Placed: a.Placed, Verdict: string(a.Verdict.Reason)}
	if len(s.Audio.Samples) == 0 {
		s.Audio.Samples = make([]int16, int(unspeakableSeconds*float64(s.Audio.Rate)))
	}
	return r.rates.convert(s, u.Segment.SampleRate)
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
