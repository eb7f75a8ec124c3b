package worker

import (
	"context"
	"math"
	"strings"
	"sync"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

const scriptedRate = 22050

// scripted is an engine that speaks tones and does what the text tells it.
type scripted struct {
	mu     sync.Mutex
	spoken map[string]int                                                    // texts, by how often they were spoken well
	calls  int                                                               // with work
	all    int                                                               // canaries too
	before func(ctx context.Context, call int, batch []engine.Request) error // fails the whole call
	each   func(ctx context.Context, r engine.Request) error                 // fails one request
	tone   func(r engine.Request) float64                                    // Hz; nil: 220
	mute   func() bool                                                       // nil: never
	spoil  func(r engine.Request, samples []int16)                           // changes what is said; nil: nothing
}

func (e *scripted) Info() engine.Info {
	return engine.Info{
		Name: "scripted", Model: "scripted 1", Rate: scriptedRate, Voices: []engine.Voice{{Name: "narrator-en", Language: "en"}},
		MaxBatch: 8, Window: 2, MaxTextBytes: 4096,
	}
}

func (e *scripted) Close() error { return nil }

func (e *scripted) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	e.mu.Lock()
	e.all++
	if batch[0].ID != fleet.CanaryID {
		e.calls++
	}
	call := e.calls
	e.mu.Unlock()
	if e.before != nil {
		if err := e.before(ctx, call, batch); err != nil {
			return nil, err
		}
	}
	results := make([]engine.Result, len(batch))
	for i, r := range batch {
		results[i] = e.speak(ctx, r)
	}
	if ctx.Err() != nil {
		return nil, engine.CallError("scripted", context.Cause(ctx))
	}
	return results, nil
}

func (e *scripted) speak(ctx context.Context, r engine.Request) engine.Result {
	if e.each != nil {
		if err := e.each(ctx, r); err != nil {
			return engine.Result{Err: err}
		}
	}
	if strings.Contains(r.Text, "silence") || e.mute != nil && e.mute() {
		return engine.Result{Audio: engine.Audio{Rate: scriptedRate, Samples: make([]int16, scriptedRate)}}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.ID == fleet.CanaryID {
		return engine.Result{Audio: engine.Audio{Rate: scriptedRate, Samples: tone(220, r.Seconds)}}
	}
	if e.spoken == nil {
		e.spoken = map[string]int{}
	}
	e.spoken[r.Text]++
	hz := 220.0
	if e.tone != nil {
		hz = e.tone(r)
	}
	samples := tone(hz, r.Seconds)
	if e.spoil != nil {
		e.spoil(r, samples)
	}
	return engine.Result{
		Audio:     engine.Audio{Rate: scriptedRate, Samples: samples},
		Sentences: []engine.Mark{{Start: 0, End: len(r.Text), Sample: 0}},
	}
}

func (e *scripted) times(text string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spoken[text]
}

func (e *scripted) callCount() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (e *scripted) allCalls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all
}

func tone(hz, seconds float64) []int16 {
	samples := make([]int16, int(max(seconds, 0.3)*scriptedRate))
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i+1)/scriptedRate))
	}
	return samples
}

func dies() error {
	return &job.Error{Op: "scripted", Kind: job.Engine, Public: "The engine died."}
}
