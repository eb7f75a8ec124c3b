package circuit

import (
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Config shapes a Breaker. Start from [DefaultConfig].
type Config struct {
	Failures int           // in a row before it opens
	Cooldown time.Duration // how long it refuses before it lets one caller try
}

// DefaultConfig opens after 3 failures for 1 s.
func DefaultConfig() Config { return Config{Failures: 3, Cooldown: time.Second} }

// Breaker guards one dependency. It is safe for concurrent use.
type Breaker struct {
	name string
	cfg  Config

	mu       sync.Mutex
	failures int       // guarded by mu, in a row
	until    time.Time // guarded by mu; refuses before that, while failures >= cfg.Failures
	cause    error     // guarded by mu
}

// New returns a closed breaker; name says to clients what is away, such as "the database".
func New(name string, cfg Config) *Breaker { return &Breaker{name: name, cfg: cfg} }

// Allow returns nil if the caller may try. While the breaker is open it returns
// an Unavailable error; once the cooldown has passed, one caller per cooldown
// may try.
func (b *Breaker) Allow(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < b.cfg.Failures {
		return nil
	}
	if now.Before(b.until) {
		return b.refusalLocked()
	}
	b.until = now.Add(b.cfg.Cooldown) // this caller tries, others wait for what it finds
	return nil
}

// State returns nil if the dependency is believed to answer, and takes nobody's turn to try.
func (b *Breaker) State(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < b.cfg.Failures {
		return nil
	}
	return b.refusalLocked()
}

func (b *Breaker) refusalLocked() error {
	return &job.Error{Op: "circuit", Kind: job.Unavailable, Public: "Right now " + b.name + " cannot be reached; try again later.", Err: b.cause}
}

// Done reports how a try ended.
func (b *Breaker) Done(now time.Time, err error) {
	if err == nil || job.KindOf(err) != job.Unavailable {
		b.Reset()
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.openLocked(now, err)
}

// Trip opens the breaker whatever was counted before.
func (b *Breaker) Trip(now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = max(b.failures, b.cfg.Failures)
	b.openLocked(now, err)
}

func (b *Breaker) openLocked(now time.Time, err error) {
	b.cause = err
	if b.failures >= b.cfg.Failures {
		b.until = now.Add(b.cfg.Cooldown)
	}
}

// Reset closes the breaker.
func (b *Breaker) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.cause, b.until = 0, nil, time.Time{}
}
