package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// ErrStopped is wrapped by the error of a submission that came after the end.
var ErrStopped = errors.New("committer has stopped")

// Store is where outcomes go.
type Store interface {
	// Settle stores all outcomes in one transaction, or none.
	Settle(ctx context.Context, outcomes []store.Outcome) (store.Settled, error)
}

// Config says how groups are formed.
type Config struct {
	Group  int           // most outcomes of one transaction
	Linger time.Duration // how long the first outcome of a group waits for others, if none is interactive
	Hold   time.Duration // how long a group waits for a database that is away
	Grace  time.Duration // how long the last group may take after the stop
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Group < 1 || c.Group > store.MaxGroup {
		return fmt.Errorf("commit: group is %d; it must be 1 to %d", c.Group, store.MaxGroup)
	}
	if c.Linger < 0 || c.Hold <= 0 || c.Grace <= 0 {
		return fmt.Errorf("commit: linger %s, hold %s, grace %s; none may be negative and the last two must be positive", c.Linger, c.Hold, c.Grace)
	}
	return nil
}

// Committer groups outcomes. Submit is safe for concurrent use.
type Committer struct {
	cfg     Config
	store   Store
	log     *slog.Logger
	settled func(group []store.Outcome, done store.Settled)

	in   chan request  // unbuffered: who submits waits while a transaction runs
	done chan struct{} // closed when Run has returned
}

type request struct {
	outcome store.Outcome
	reply   chan<- reply // capacity 1: the owner never waits for a submitter
}

type reply struct {
	applied bool
	err     error
}

// New returns a Committer; run it with [Committer.Run]. Its goroutine calls
// settled, if that is not nil, after each transaction.
func New(cfg Config, s Store, log *slog.Logger, settled func(group []store.Outcome, done store.Settled)) *Committer {
	if settled == nil {
		settled = func([]store.Outcome, store.Settled) {}
	}
	return &Committer{cfg: cfg, store: s, log: log, settled: settled, in: make(chan request), done: make(chan struct{})}
}

// Submit stores o and waits for it; applied is false if the segment was no
// longer out under o.Attempt. An error is Unavailable if the database
// stayed away or ctx is done: o may have been stored; any other kind means that
// the database refused o by itself, and it was not stored.
func (c *Committer) Submit(ctx context.Context, o store.Outcome) (applied bool, err error) {
	answer := make(chan reply, 1)
	select {
	case c.in <- request{o, answer}:
	case <-ctx.Done():
		return false, stopped(context.Cause(ctx))
	case <-c.done:
		return false, stopped(ErrStopped)
	}
	select {
	case r := <-answer:
		return r.applied, r.err
	case <-ctx.Done():
		return false, stopped(context.Cause(ctx))
	}
}

func stopped(cause error) error {
	return &job.Error{Op: "commit.Submit", Kind: job.Unavailable, Err: cause}
}

// Run commits groups until ctx is done; the group in hand is still tried for
// the grace. It must be stopped after everybody who submits.
func (c *Committer) Run(ctx context.Context) error {
	defer close(c.done)
	work, cancel := lifecycle.Linger(ctx, c.cfg.Grace)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-c.in:
			c.commit(work, c.gather(ctx, first))
		}
	}
}

// gather collects the group that first began. An interactive outcome, for which
// somebody waits, takes along what is there and waits for no others.
func (c *Committer) gather(ctx context.Context, first request) []request {
	group := append(make([]request, 0, 16), first)
	timer := time.NewTimer(c.cfg.Linger)
	defer timer.Stop()
	for urgent := first.urgent(); len(group) < c.cfg.Group && !urgent; {
		select {
		case r := <-c.in:
			group, urgent = append(group, r), r.urgent()
		case <-timer.C:
			return group
		case <-ctx.Done():
			return group
		}
	}
	for len(group) < c.cfg.Group {
		select {
		case r := <-c.in:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

func (r request) urgent() bool { return r.outcome.Class == job.Interactive }

// commit stores group, or if the database refuses it as a whole, each outcome alone.
func (c *Committer) commit(ctx context.Context, group []request) {
	outcomes := make([]store.Outcome, len(group))
	for i, r := range group {
		outcomes[i] = r.outcome
	}
	done, err := c.settle(ctx, outcomes)
	if err == nil {
		c.settled(outcomes, done)
		for i, r := range group {
			r.reply <- reply{applied: done.Applied[i]}
		}
		return
	}
	if len(group) > 1 && !job.Retryable(err) {
		c.log.ErrorContext(ctx, "a group of outcomes was refused; each goes alone", slog.Int("group", len(group)), slog.String("error", err.Error()))
		for i := range group {
			c.commit(ctx, group[i:i+1])
		}
		return
	}
	for _, r := range group {
		r.reply <- reply{err: err}
	}
}

// settle tries to store outcomes for as long as the database may be away.
func (c *Committer) settle(ctx context.Context, outcomes []store.Outcome) (store.Settled, error) {
	begun := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		done, err := c.store.Settle(ctx, outcomes)
		if err == nil || !job.Retryable(err) || time.Since(begun) > c.cfg.Hold {
			return done, err
		}
		c.log.WarnContext(ctx, "outcomes wait for the database", slog.Int("group", len(outcomes)), slog.String("error", err.Error()))
		if !lifecycle.Sleep(ctx, pause/2+rand.N(pause)) {
			return done, err
		}
	}
}
