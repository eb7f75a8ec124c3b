package owned

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

const op = "owned.Synthesize"

// lastWords is how long the calls of an engine that died may take to notice it: what
// they then say tells whose fault it was.
const lastWords = time.Second

// Engine is a place for an engine that the worker runs itself. It is safe for
// concurrent use.
type Engine struct {
	cfg     Config
	replica int
	info    engine.Info
	turn    chan struct{} // of all engines of the command; capacity 1
	log     *slog.Logger
	end     context.CancelFunc
	done    chan struct{}

	kick  chan string      // capacity 1: why it is to be started anew
	look  lifecycle.Signal // it may be worn, or is wanted
	woken lifecycle.Signal

	mu      sync.Mutex
	serving *process  // under mu; nil: none
	asleep  bool      // under mu: ended because nobody wanted it
	used    time.Time // under mu: the last request
	closed  bool      // under mu
	refused error     // under mu: why the last one was, if it was
}

var (
	_ engine.Owned  = (*Engine)(nil)
	_ engine.Prober = (*Engine)(nil)
)

// New returns an Engine for each replica of the command. They start by themselves,
// which New does not wait for. The caller must close every one.
func New(cfg Config) ([]*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	sample, err := cfg.Open("127.0.0.1:1")
	if err != nil {
		return nil, err
	}
	info := sample.Info()
	if err := sample.Close(); err != nil {
		return nil, fmt.Errorf("owned: %w", err)
	}
	all, turn := make([]*Engine, cfg.Replicas), make(chan struct{}, 1)
	for i := range all {
		info.Address = fmt.Sprintf("replica-%d", i)
		e := &Engine{
			cfg: cfg, replica: i, info: info, turn: turn, log: cfg.Log.With(slog.String("backend", info.Address)), done: make(chan struct{}),
			kick: make(chan string, 1), look: lifecycle.NewSignal(), woken: lifecycle.NewSignal(), used: time.Now(), asleep: cfg.Asleep,
		}
		life, end := context.WithCancel(context.Background()) //nolint:forbidigo // Close ends it
		e.end = end
		all[i] = e
		go e.run(life) // ends with life, and closes done
	}
	return all, nil
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Woken implements [engine.Owned].
func (e *Engine) Woken() <-chan struct{} { return e.woken }

// Restart implements [engine.Owned].
func (e *Engine) Restart(why string) {
	select {
	case e.kick <- why:
	default: // it is to be started anyway
	}
}

// Probe implements [engine.Prober]: an engine serves, or would if it were wanted.
func (e *Engine) Probe(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.serving == nil && !e.asleep {
		return starting()
	}
	return nil
}

func starting() error {
	return &job.Error{Op: op, Kind: job.Unavailable, Public: "The engine is starting.", Err: engine.ErrStarting}
}

// Synthesize has batch spoken by the process that serves. See [engine.Engine].
func (e *Engine) Synthesize(ctx context.Context, batch []engine.Request) (results []engine.Result, err error) {
	failed := e.Do(len(batch), func(driver engine.Engine) { results, err = driver.Synthesize(ctx, batch) })
	if errors.Is(failed, engine.ErrClosed) {
		return nil, failed
	}
	if failed != nil {
		results = make([]engine.Result, len(batch))
		for i := range results {
			results[i].Err = failed
		}
	}
	return results, err
}

// Do has f use the driver of the process that serves, for n requests. If none does, f
// is not called, and the error wraps [engine.ErrStarting], [engine.ErrRefused] or
// [engine.ErrClosed].
func (e *Engine) Do(n int, f func(driver engine.Engine)) error {
	e.mu.Lock()
	p := e.serving
	e.used = time.Now()
	switch {
	case e.closed:
		e.mu.Unlock()
		return engine.CallError(op, engine.ErrClosed)
	case p == nil:
		why := cmp.Or(e.refused, starting())
		e.mu.Unlock()
		e.look.Raise() // it may be asleep
		return why
	}
	p.calls++
	e.mu.Unlock()
	f(p.driver)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used = time.Now()
	p.requests += n
	if p.calls--; p.calls == 0 && p.drained != nil {
		close(p.drained)
	}
	if e.cfg.Segments > 0 && p.requests*11 >= e.cfg.Segments*10 {
		e.look.Raise()
	}
	return nil
}

// Close ends the processes and returns when they are gone. A second call does nothing.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end()
	<-e.done
	return nil
}

// reason is why an engine no longer serves.
type reason int

const (
	ended  reason = iota // the worker ends
	broken               // it died, or is sick
	worn
	idle
)

// run has an engine in the place until ctx ends.
func (e *Engine) run(ctx context.Context) {
	defer close(e.done)
	pause := e.cfg.MinPause
	var p *process // what serves
	if e.cfg.Asleep {
		e.awake(ctx)
	}
	for ctx.Err() == nil {
		next, err := e.begin(ctx, p)
		if err != nil {
			if ctx.Err() == nil {
				e.log.ErrorContext(ctx, "the engine could not be started", slog.String("error", err.Error()))
			}
			p = e.current() // begin may have ended it
			e.note(err)
			if !lifecycle.Sleep(ctx, pause) {
				break
			}
			pause = min(2*pause, e.cfg.MaxPause)
			continue
		}
		p = next
		switch e.watch(ctx, p) {
		case ended, worn:
		case broken:
			e.retire(ctx, p, lastWords)
			if e.answered(p) {
				pause = e.cfg.MinPause
			}
			p = nil
			if !lifecycle.Sleep(ctx, pause) {
				break
			}
			pause = min(2*pause, e.cfg.MaxPause)
		case idle:
			e.sleep(ctx, p)
			p = nil
		}
	}
	if p != nil {
		e.retire(ctx, p, 0)
	}
}

// note remembers that an engine was refused, which requests are told then.
func (e *Engine) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = nil
	if why, ok := errors.AsType[*job.Error](err); ok && errors.Is(err, engine.ErrRefused) {
		e.refused = why
	}
}

// current returns what serves; nil for nothing.
func (e *Engine) current() *process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.serving
}

func (e *Engine) answered(p *process) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return p.requests > 0
}

// begin puts an engine into the place, in place of old if that is not nil. Only one of
// the command's engines begins at a time.
func (e *Engine) begin(ctx context.Context, old *process) (*process, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if old != nil && e.cfg.Alone {
		e.retire(ctx, old, e.cfg.DrainTime)
		old = nil
	}
	p, err := e.cfg.start(ctx, e.replica, e.log)
	if err != nil {
		return nil, err
	}
	e.log.InfoContext(ctx, "the engine serves", slog.Int("pid", p.PID), slog.Float64("seconds", time.Since(p.began).Seconds()))
	e.mu.Lock()
	e.serving, e.asleep, e.used, e.refused = p, false, time.Now(), nil
	e.mu.Unlock()
	select {
	case <-e.kick: // the one before was meant
	default:
	}
	e.woken.Raise()
	if old != nil {
		e.retire(ctx, old, e.cfg.DrainTime)
	}
	return p, nil
}

// watch returns when p is no longer to serve, and why.
func (e *Engine) watch(ctx context.Context, p *process) reason {
	jitter := .9 + .2*rand.Float64() //nolint:gosec // not a secret
	segments := int(jitter * float64(e.cfg.Segments))
	old := time.NewTimer(time.Duration(jitter * float64(e.cfg.Age)))
	defer old.Stop()
	ticker := time.NewTicker(e.cfg.Look)
	defer ticker.Stop()
	for {
		why, took := "", broken
		select {
		case <-ctx.Done():
			return ended
		case <-p.Exited():
			why = fmt.Sprintf("it exited: %v", p.Err())
		case why = <-e.kick:
		case <-old.C:
			why, took = "age", worn
		case <-e.look:
		case <-ticker.C:
			if rss := resident(p.PID); e.cfg.RSS > 0 && rss > e.cfg.RSS {
				why, took = fmt.Sprintf("%d MB of memory", rss>>20), worn
			}
		}
		e.mu.Lock()
		answered, quiet := p.requests, time.Since(e.used)
		if p.calls > 0 {
			quiet = 0
		}
		e.mu.Unlock()
		switch {
		case why != "":
		case e.cfg.Segments > 0 && answered >= segments:
			why, took = "segments", worn
		case e.cfg.Idle > 0 && quiet >= e.cfg.Idle:
			why, took = "nobody wants it", idle
		default:
			continue
		}
		level := slog.LevelInfo
		if took == broken {
			level = slog.LevelWarn
		}
		e.log.Log(ctx, level, "the engine is to end", slog.Int("pid", p.PID), slog.String("why", why), slog.Int("answered", answered))
		return took
	}
}

// retire takes p out of the place, gives its calls time to end unless ctx has ended,
// and ends it.
func (e *Engine) retire(ctx context.Context, p *process, drain time.Duration) {
	e.mu.Lock()
	if e.serving == p {
		e.serving = nil
	}
	drained := make(chan struct{})
	if p.calls == 0 {
		close(drained)
	} else {
		p.drained = drained
	}
	e.mu.Unlock()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := p.stop(); err != nil && !errors.Is(err, engine.ErrClosed) {
		e.log.WarnContext(ctx, "the engine's driver ended badly", slog.String("error", err.Error()))
	}
}

// sleep ends p, unless it is wanted at the last moment, and returns when there is a
// request again.
func (e *Engine) sleep(ctx context.Context, p *process) {
	e.mu.Lock()
	e.asleep = true
	select {
	case <-e.look: // of before
	default:
	}
	e.mu.Unlock()
	e.retire(ctx, p, e.cfg.DrainTime)
	e.awake(ctx)
}

// awake returns when there is a request.
func (e *Engine) awake(ctx context.Context) {
	select {
	case <-e.look:
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.asleep = false
	e.mu.Unlock()
}
