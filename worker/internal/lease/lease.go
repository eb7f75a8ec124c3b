package lease

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Message is what the bus lends.
type Message interface {
	Ack(ctx context.Context) error // done with; returns when the bus has recorded it
	Nak() error                    // give it to somebody else now
	InProgress() error             // a sign of life
}

// Config says how leases are kept.
type Config struct {
	Every time.Duration // between two signs of life; well below the bus's ack wait
	Hard  time.Duration // how long one message may be held at all
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Every <= 0 {
		return fmt.Errorf("lease: every is %s; it must be positive", c.Every)
	}
	if c.Hard < c.Every {
		return fmt.Errorf("lease: hard (%s) must be at least every (%s)", c.Hard, c.Every)
	}
	return nil
}

// Keeper renews the leases it knows of. It is safe for concurrent use. How many
// it holds is bounded by whoever takes messages.
type Keeper struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	held map[*Lease]struct{} // under mu
}

// NewKeeper returns a Keeper; run it with [Keeper.Run].
func NewKeeper(cfg Config, log *slog.Logger) *Keeper {
	return &Keeper{cfg: cfg, log: log, held: map[*Lease]struct{}{}}
}

// Run gives signs of life until ctx is done. It must outlive everybody who
// holds a lease.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			k.renew(ctx, now)
		}
	}
}

func (k *Keeper) renew(ctx context.Context, now time.Time) {
	var last error
	failed := 0
	for _, l := range k.snapshot() {
		if now.After(l.until) {
			k.expire(ctx, l)
			continue
		}
		if err := l.msg.InProgress(); err != nil {
			last = err
			failed++
		}
	}
	if failed > 0 {
		k.log.WarnContext(ctx, "leases were not renewed", slog.Int("messages", failed), slog.String("error", last.Error()))
	}
}

func (k *Keeper) snapshot() []*Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*Lease, 0, len(k.held))
	for l := range k.held {
		all = append(all, l)
	}
	return all
}

func (k *Keeper) expire(ctx context.Context, l *Lease) {
	k.mu.Lock()
	_, ok := k.held[l]
	delete(k.held, l)
	k.mu.Unlock()
	if ok {
		k.log.ErrorContext(ctx, "a message was held past its deadline and is let go", slog.String("item", l.name), slog.Duration("held", k.cfg.Hard))
	}
}

// Hold takes msg into care until it is settled or too old. The name is for the
// log. When the lease is settled, settled is called, once, unless it is nil.
func (k *Keeper) Hold(msg Message, name string, settled func()) *Lease {
	l := &Lease{keeper: k, msg: msg, name: name, settled: settled, until: time.Now().Add(k.cfg.Hard)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[l] = struct{}{}
	return l
}

// Held returns how many leases are renewed now.
func (k *Keeper) Held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}

// Lease is one message in hand. It is safe for concurrent use.
type Lease struct {
	keeper  *Keeper
	msg     Message
	name    string
	settled func()
	until   time.Time
	once    sync.Once
}

// Ack tells the bus that the message is done with and waits until that is
// recorded. An error means that the message will come again, which does no
// harm. After the first Ack or Nak it does nothing.
func (l *Lease) Ack(ctx context.Context) (err error) {
	l.settle(func() { err = l.msg.Ack(ctx) })
	return err
}

// Nak gives the message to somebody else at once. An error means that it comes
// again only after the ack wait. After the first Ack or Nak it does nothing.
func (l *Lease) Nak() (err error) {
	l.settle(func() { err = l.msg.Nak() })
	return err
}

func (l *Lease) settle(tell func()) {
	l.once.Do(func() {
		tell()
		l.keeper.mu.Lock()
		delete(l.keeper.held, l)
		l.keeper.mu.Unlock()
		if l.settled != nil {
			l.settled()
		}
	})
}
