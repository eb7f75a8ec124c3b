package helper

import (
	"context"
	"fmt"

	"github.com/voicemill/voicemill/platform/child"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// process is one helper. Whoever started it calls Stop. It is used by one
// goroutine at a time.
type process struct {
	*child.Process

	w     *wire.Writer
	r     *wire.Reader
	hello wire.Hello
}

// Ask is one request and what its answer may be.
type Ask struct {
	Body    any // JSON for the helper
	Samples int // how many are expected, roughly; room for so many is made at once
	Events  int // most that are believed
}

// Answer is what a helper said to one request. The caller owns it.
type Answer struct {
	Samples []int16
	Events  []wire.Event
	Done    wire.Done
}

// start starts a process and waits for its hello. The process lives until Stop;
// ctx bounds the start only.
func start(ctx context.Context, cfg Config) (*process, error) {
	c, err := child.Start(ctx, child.Config{
		Path: cfg.Path, Args: cfg.Args,
		Env: []string{"HOME=/nonexistent"}, // a library looks for data below it, and nowhere else that we want
	})
	if err != nil {
		return nil, err
	}
	p := &process{Process: c, w: wire.NewWriter(c.Input), r: wire.NewReader(c.Output)}
	if err := p.greet(ctx, cfg); err != nil {
		err = fmt.Errorf("start %s: %w", cfg.Path, p.Explain(err))
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *process) greet(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, fmt.Errorf("no hello within %s", cfg.StartTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, p.Kill)()

	t, body, err := p.r.Next()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case t != wire.TypeHello:
		return fmt.Errorf("frame of type %c instead of hello: %w", t, wire.ErrProtocol)
	}
	if err := wire.DecodeJSON(body, &p.hello); err != nil {
		return err
	}
	if p.hello.Version != wire.Version {
		return fmt.Errorf("helper speaks version %d; want %d; build it again: %w", p.hello.Version, wire.Version, wire.ErrProtocol)
	}
	if p.hello.Rate != cfg.Rate {
		return fmt.Errorf("%s speaks at %d Hz; want %d", p.hello.Library, p.hello.Rate, cfg.Rate)
	}
	if cfg.Accept != nil {
		return cfg.Accept(p.hello)
	}
	return nil
}

// speak sends q and collects the answer. When ctx ends the process is killed
// and the error is the cause of ctx. After an error the helper is of no more
// use; stop it.
func (p *process) speak(ctx context.Context, id uint64, q Ask, maxSamples int64) (Answer, error) {
	defer context.AfterFunc(ctx, p.Kill)()
	a, err := p.exchange(id, q, maxSamples)
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return Answer{}, context.Cause(ctx)
	}
	return Answer{}, p.Explain(err)
}

func (p *process) exchange(id uint64, q Ask, maxSamples int64) (Answer, error) {
	if err := p.w.WriteJSON(wire.TypeRequest, wire.Request[any]{ID: id, Body: q.Body}); err != nil {
		return Answer{}, fmt.Errorf("write request: %w", err)
	}
	if err := p.w.Flush(); err != nil {
		return Answer{}, fmt.Errorf("write request: %w", err)
	}
	a := Answer{Samples: make([]int16, 0, min(int64(q.Samples), maxSamples))}
	for {
		t, body, err := p.r.Next()
		if err != nil {
			return Answer{}, err
		}
		switch t {
		case wire.TypeAudio:
			a.Samples, err = wire.DecodeSamples(a.Samples, body)
			if err == nil && int64(len(a.Samples)) > maxSamples {
				err = fmt.Errorf("more than %d samples: %w", maxSamples, wire.ErrProtocol)
			}
		case wire.TypeEvents:
			a.Events, err = wire.DecodeEvents(a.Events, body)
			if err == nil && len(a.Events) > q.Events {
				err = fmt.Errorf("%d events for one text: %w", len(a.Events), wire.ErrProtocol)
			}
		case wire.TypeDone:
			return a, a.finish(id, body)
		default:
			err = fmt.Errorf("frame of type %c in an answer: %w", t, wire.ErrProtocol)
		}
		if err != nil {
			return Answer{}, err
		}
	}
}

func (a *Answer) finish(id uint64, body []byte) error {
	if err := wire.DecodeJSON(body, &a.Done); err != nil {
		return err
	}
	if a.Done.ID != id || a.Done.Samples != int64(len(a.Samples)) {
		return fmt.Errorf("answer %d with %d samples ends as answer %d with %d: %w",
			id, len(a.Samples), a.Done.ID, a.Done.Samples, wire.ErrProtocol)
	}
	return nil
}

// Audible reports whether samples hold more than silence that is exactly zero.
func Audible(samples []int16) bool {
	for _, s := range samples {
		if s != 0 {
			return true
		}
	}
	return false
}
