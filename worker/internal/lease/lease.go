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
		if err := l.inProgress(); err != nil {
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
	name    string
	settled func()
	until   time.Time
	once    sync.Once

	mu   sync.Mutex
	msg  Message // under mu
	open int     // parts that are not settled; under mu
	back bool    // a part was given back; under mu
	over bool    // the lease is settled; under mu
}

// Ack tells the bus that the message is done with and waits until that is
// recorded. An error means that the message will come again, which does no
// harm. After the first Ack or Nak it does nothing.
func (l *Lease) Ack(ctx context.Context) (err error) {
	l.settle(func(m Message) { err = m.Ack(ctx) })
	return err
}

// Nak gives the message to somebody else at once. An error means that it comes
// again only after the ack wait. After the first Ack or Nak it does nothing.
func (l *Lease) Nak() (err error) {
	l.settle(func(m Message) { err = m.Nak() })
	return err
}

// Adopt makes msg the message of the lease: the bus delivered it again, or
// published it anew, while it was in hand. False means that the lease is settled.
func (l *Lease) Adopt(msg Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.msg = msg
	return true
}

func (l *Lease) settle(tell func(Message)) {
	l.once.Do(func() {
		l.mu.Lock()
		l.over = true
		msg := l.msg
		l.mu.Unlock()
		tell(msg)
		l.keeper.mu.Lock()
		delete(l.keeper.held, l)
		l.keeper.mu.Unlock()
		if l.settled != nil {
			l.settled()
		}
	})
}

func (l *Lease) inProgress() error {
	l.mu.Lock()
	msg := l.msg
	l.mu.Unlock()
	return msg.InProgress()
}

// Part is one of several things that a message asks for. When all parts are
// settled, so is the message: it is given back if one of its parts was.
type Part struct {
	lease   *Lease
	settled func()
	once    sync.Once
}

// Parts divides the lease into n parts, n at least 1. It may be called once.
// When a part is settled, settled is called.
func (l *Lease) Parts(n int, settled func()) []*Part {
	parts := make([]*Part, n)
	for i := range parts {
		parts[i] = &Part{lease: l, settled: settled}
	}
	l.mu.Lock()
	l.open = n
	l.mu.Unlock()
	return parts
}

// Ack notes that p is done with; for the last part it is [Lease.Ack].
func (p *Part) Ack(ctx context.Context) (err error) {
	p.once.Do(func() {
		if last, back := p.lease.close(false); last && back {
			err = p.lease.Nak()
		} else if last {
			err = p.lease.Ack(ctx)
		}
		p.settled()
	})
	return err
}

// Nak notes that somebody else is to have p; with the last part the message goes.
func (p *Part) Nak() (err error) {
	p.once.Do(func() {
		if last, _ := p.lease.close(true); last {
			err = p.lease.Nak()
		}
		p.settled()
	})
	return err
}

// close notes that a part is settled. It tells whether that was the last one, and
// whether the message is to be given back.
func (l *Lease) close(given bool) (last, back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	l.back = l.back || given
	return l.open == 0, l.back
}
