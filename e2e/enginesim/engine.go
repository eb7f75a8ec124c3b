package enginesim

import (
	"context"
	"time"
)

// work is a text in the engine.
type work struct {
	ctx     context.Context //nolint:containedctx // of who waits for it
	seconds float64         // of sound; a slow one counts more
	left    float64         // of them; of a continuous engine
	done    chan struct{}   // closed when it is spoken
	company int             // texts that were spoken with it, itself included; after done
}

// engine takes time for works by a cost model. Its loop owns them.
type engine struct {
	cost    Cost
	speedup float64
	batch   int
	arrive  chan *work
}

func newEngine(cfg Config) *engine {
	return &engine{cost: cfg.Cost, speedup: cfg.Speedup, batch: cfg.Batch, arrive: make(chan *work)}
}

// run works until ctx ends.
func (e *engine) run(ctx context.Context) {
	switch cost := e.cost.(type) {
	case Static:
		e.static(ctx, cost)
	case Continuous:
		e.continuous(ctx, cost)
	case nil:
		<-ctx.Done()
	}
}

// speak returns when a text of so many seconds would be spoken, and with how many others.
func (e *engine) speak(ctx context.Context, seconds float64) (company int, err error) {
	if e.cost == nil {
		return 1, context.Cause(ctx)
	}
	w := &work{ctx: ctx, seconds: seconds, left: seconds, done: make(chan struct{})}
	select {
	case e.arrive <- w:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	select {
	case <-w.done:
		return w.company, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (e *engine) scaled(seconds float64) time.Duration {
	return time.Duration(seconds / e.speedup * float64(time.Second))
}

// static speaks batches of what has come, one after another.
func (e *engine) static(ctx context.Context, cost Static) {
	var waiting []*work
	var free time.Time  // when the batch ends that is spoken now
	var spoken []*work  // that batch
	var since time.Time // when the oldest that waits came
	timer := time.NewTimer(time.Hour)
	for {
		now := time.Now()
		if len(spoken) > 0 && !now.Before(free) {
			for _, w := range spoken {
				w.company = len(spoken)
				close(w.done)
			}
			spoken = nil
		}
		wait := e.scaled(cost.Wait.Seconds())
		if len(spoken) == 0 && len(waiting) > 0 && (len(waiting) >= e.batch || now.Sub(since) >= wait) {
			n := min(e.batch, len(waiting))
			spoken, waiting, since = waiting[:n:n], waiting[n:], now
			seconds := make([]float64, n)
			for i, w := range spoken {
				seconds[i] = w.seconds
			}
			free = now.Add(e.scaled(cost.takes(seconds)))
		}
		due := time.Hour
		if len(spoken) > 0 {
			due = time.Until(free)
		} else if len(waiting) > 0 {
			due = time.Until(since.Add(wait))
		}
		timer.Reset(max(0, due))
		select {
		case w := <-e.arrive:
			if len(waiting) == 0 {
				since = time.Now()
			}
			waiting = append(waiting, w)
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// continuous speaks everything that is there, all at the same pace.
func (e *engine) continuous(ctx context.Context, cost Continuous) {
	var all []*work
	var come *work // as yet without a share
	last := time.Now()
	timer := time.NewTimer(time.Hour)
	for {
		now := time.Now()
		if n := len(all); n > 0 {
			made := now.Sub(last).Seconds() * e.speedup * cost.at(n) / float64(n)
			rest := all[:0]
			for _, w := range all {
				w.left -= made
				switch {
				case w.left <= 1e-9:
					w.company = n
					close(w.done)
				case w.ctx.Err() == nil: // who has left costs nothing any more
					rest = append(rest, w)
				}
			}
			all = rest
		}
		last = now
		if come != nil {
			all, come = append(all, come), nil
		}
		due := time.Hour
		if n := len(all); n > 0 {
			least := all[0].left
			for _, w := range all {
				least = min(least, w.left)
			}
			due = e.scaled(least * float64(n) / cost.at(n))
		}
		timer.Reset(due + time.Microsecond)
		select {
		case come = <-e.arrive:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}
