package consume

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// claimed is the message of a claimed bundle. Before somebody else gets it, the
// database must know that its delivery ended in good order.
type claimed struct {
	lease.Message
	bundle *Bundle
	pool   *Pool
}

// Nak has the bundle given back; it does not wait.
func (m claimed) Nak() error {
	m.pool.back.add(m)
	return nil
}

// lastReturn is how long the database may take for what is given back at the very end.
const lastReturn = 2 * time.Second

// returns is what is to be given back, never more than is in hand.
type returns struct {
	mu   sync.Mutex
	due  []claimed        // under mu
	more lifecycle.Signal // capacity 1: something is due
	over chan struct{}    // closed at the end
}

func newReturns() returns { return returns{more: lifecycle.NewSignal(), over: make(chan struct{})} }

func (r *returns) add(m claimed) {
	r.mu.Lock()
	r.due = append(r.due, m)
	r.mu.Unlock()
	r.more.Raise()
}

func (r *returns) take() []claimed {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.due
	r.due = nil
	return due
}

func (r *returns) close() { close(r.over) }

// returnAll gives back what is to be given back, until there will be no more.
func (p *Pool) returnAll(work context.Context) {
	for {
		select {
		case <-p.back.more:
			p.returnSome(work)
		case <-p.back.over:
			last, cancel := context.WithTimeout(context.WithoutCancel(work), lastReturn)
			p.returnSome(last)
			cancel()
			return
		}
	}
}

func (p *Pool) returnSome(ctx context.Context) {
	due := p.back.take()
	var refs []store.Ref
	for _, m := range due {
		if m.bundle.begun.Load() {
			refs = append(refs, m.bundle.Claim.Ref)
		}
	}
	if len(refs) > 0 {
		p.returnRefs(ctx, refs)
	}
	for _, m := range due {
		_ = m.Message.Nak() // else it comes again after the ack wait
	}
}

// returnRefs tells the database, for as long as it is away and ctx lasts. A
// delivery that it does not hear of counts as one that its worker did not survive.
func (p *Pool) returnRefs(ctx context.Context, refs []store.Ref) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := p.deps.Claims.Return(ctx, refs)
		if err == nil {
			return
		}
		p.log.WarnContext(ctx, "bundles wait to be given back", slog.Int("bundles", len(refs)), slog.String("error", err.Error()))
		if !job.Retryable(err) || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-p.back.over: // the end: the last try
			timer.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReturn)
			_ = p.deps.Claims.Return(last, refs) // else they count as died
			cancel()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
