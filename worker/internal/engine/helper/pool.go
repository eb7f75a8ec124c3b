package helper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

var errHung = errors.New("the helper did not answer in time")

// Pool is a number of helper processes that do the same. It is safe for
// concurrent use.
type Pool struct {
	cfg    Config
	op     string
	hello  wire.Hello
	free   chan *slot // holds every slot that is not in use
	lastID atomic.Uint64
}

// Open starts a Pool and its first helper, to find out early what is missing; ctx
// bounds that. The caller must call Close.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	first := &slot{cfg: cfg}
	if err := first.ready(ctx); err != nil {
		return nil, &job.Error{Op: cfg.Name + ".New", Kind: job.Unavailable, Public: "The speech engine could not be started.", Err: err}
	}
	p := &Pool{cfg: cfg, op: cfg.Name + ".Synthesize", hello: first.process.hello, free: make(chan *slot, cfg.Helpers)}
	p.free <- first
	for range cfg.Helpers - 1 {
		p.free <- &slot{cfg: cfg}
	}
	return p, nil
}

// Hello returns what the first helper said of itself.
func (p *Pool) Hello() wire.Hello { return p.hello }

// Size returns how many helpers there may be.
func (p *Pool) Size() int { return p.cfg.Helpers }

// Speak has q, which asks for r, answered by the next helper that is free. The
// Answer's code is wire.CodeOK. Else err is a *job.Error that says who is to blame;
// backend is the process that was asked, empty if none was.
func (p *Pool) Speak(ctx context.Context, r *engine.Request, q Ask) (a Answer, backend string, err error) {
	var place *slot
	select {
	case place = <-p.free:
	case <-ctx.Done():
		return Answer{}, "", engine.CallError(p.op, context.Cause(ctx))
	}
	a, backend, err = p.ask(ctx, place, q, r.Seconds)
	p.free <- place
	if err != nil {
		return Answer{}, backend, p.failure(ctx, r, err)
	}
	if a.Done.Code != wire.CodeOK {
		return Answer{}, backend, &job.Error{
			Op: p.op, Kind: job.Engine, Public: "The speech engine refused this text.",
			Err: fmt.Errorf("%s: %s", a.Done.Code, a.Done.Detail),
		}
	}
	return a, backend, nil
}

// ask has q answered within its deadline.
func (p *Pool) ask(ctx context.Context, place *slot, q Ask, predicted float64) (Answer, string, error) {
	limit := p.cfg.MinTimeout
	if due := predicted * p.cfg.Slowest; due > limit.Seconds() {
		limit = time.Duration(min(due, p.cfg.MaxAudio.Seconds()) * float64(time.Second))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errHung)
	defer cancel()
	if err := place.ready(ctx); err != nil {
		return Answer{}, "", &startError{err}
	}
	backend := "pid " + strconv.Itoa(place.process.PID)
	a, err := place.speak(ctx, p.lastID.Add(1), q)
	return a, backend, err
}

// failure says what went wrong with a helper that had r.
func (p *Pool) failure(ctx context.Context, r *engine.Request, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(p.op, context.Cause(ctx))
	}
	if _, ok := errors.AsType[*startError](err); ok {
		return &job.Error{Op: p.op, Kind: job.Unavailable, Err: err}
	}
	p.cfg.Logger.WarnContext(ctx, "helper failed", slog.String("request", r.ID), slog.Any("error", err))
	return &job.Error{
		Op: p.op, Kind: job.Engine, Public: "The speech engine failed on this text.",
		Err: fmt.Errorf("%w: %w: %w", engine.ErrLost, engine.ErrDied, err),
	}
}

// Close ends every helper and returns when they are gone. It waits for calls of
// Speak in progress; a second call is a bug of the caller's.
func (p *Pool) Close() {
	for range p.cfg.Helpers {
		(<-p.free).retire()
	}
}

// Probe returns nil if a helper is busy, runs, or has not been needed yet, or else
// one can be started; see [engine.Prober].
func (p *Pool) Probe(ctx context.Context) error {
	held := make([]*slot, 0, p.cfg.Helpers)
	defer func() {
		for _, s := range held {
			p.free <- s
		}
	}()
	for range p.cfg.Helpers {
		select {
		case s := <-p.free:
			held = append(held, s)
			if s.failures == 0 || s.process != nil && s.process.Alive() {
				return nil
			}
		default:
			return nil
		}
	}
	if err := held[0].ready(ctx); err != nil {
		return &job.Error{Op: p.cfg.Name + ".Probe", Kind: job.Unavailable, Public: "No helper process can be started.", Err: err}
	}
	return nil
}

// WaitForExit returns when the idle helper of a pool of one has ended and the pool
// knows. It is for tests.
func (p *Pool) WaitForExit() {
	place := <-p.free
	<-place.process.Exited()
	p.free <- place
}
