package auth

import (
	"crypto/subtle"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config bounds a Cache. Start from [DefaultConfig].
type Config struct {
	Keep        time.Duration // how long a key that exists is believed
	KeepUnknown time.Duration // how long a key that does not exist is refused
	Entries     int           // most keys remembered, and as many that do not exist
}

// DefaultConfig returns 30 s for keys that exist, 2 s for others, 10,000 keys.
func DefaultConfig() Config {
	return Config{Keep: 30 * time.Second, KeepUnknown: 2 * time.Second, Entries: 10_000}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Keep <= 0 || c.KeepUnknown <= 0 || c.Entries < 2 {
		return fmt.Errorf("auth: keep (%s) and keep unknown (%s) must be positive, entries (%d) at least 2", c.Keep, c.KeepUnknown, c.Entries)
	}
	return nil
}

// Cache remembers who a key belongs to, and which keys do not exist. The latter
// are kept apart, so that a flood of wrong keys makes nobody ask for a good one.
//
// A key in use is looked up again before it stops being believed: it is on
// [Cache.Due] once a second when two thirds of Keep are over, so that the
// requests of a busy client do not all wait for the store at the same moment.
// It is safe for concurrent use.
type Cache struct {
	cfg Config
	due chan Hash

	mu      sync.RWMutex
	good    generations // guarded by mu
	wrong   generations // guarded by mu
	changes uint64      // guarded by mu: keys made or revoked here
}

// generations are answers, in two maps of half the size: when the younger is full
// it becomes the older and the older is forgotten.
type generations struct {
	most         int
	young, older map[Hash]answer
}

func (g *generations) get(h Hash) (answer, bool) {
	a, ok := g.young[h]
	if !ok {
		a, ok = g.older[h]
	}
	return a, ok
}

func (g *generations) put(a answer) {
	if len(g.young) >= g.most/2 || g.young == nil {
		g.older, g.young = g.young, make(map[Hash]answer)
	}
	g.young[a.hash] = a
}

func (g *generations) drop(h Hash) {
	delete(g.young, h)
	delete(g.older, h)
}

func (g *generations) len() int { return len(g.young) + len(g.older) }

type answer struct {
	hash  Hash
	id    *Identity // nil: there is no such key
	until time.Time
	renew *atomic.Int64 // when to ask again, Unix ns; nil for never
}

const (
	maxDue     = 1024 // keys that wait to be looked up again; more are told again by their next use
	renewAgain = time.Second
)

// told reports whether this use of the key is the one that has it looked up again.
func (a *answer) told(now time.Time) bool {
	if a.renew == nil {
		return false
	}
	at := a.renew.Load()
	return now.UnixNano() >= at && a.renew.CompareAndSwap(at, now.Add(renewAgain).UnixNano())
}

// NewCache returns an empty cache.
func NewCache(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Cache{cfg: cfg, due: make(chan Hash, maxDue), good: generations{most: cfg.Entries}, wrong: generations{most: cfg.Entries}}, nil
}

// Get returns what is known of a key: fresh is false if the store must be
// asked; a nil identity that is fresh means that there is no such key. The
// caller must not change the identity.
func (c *Cache) Get(h Hash, now time.Time) (id *Identity, fresh bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.good.get(h)
	if !ok || !now.Before(a.until) {
		a, ok = c.wrong.get(h)
	}
	// The map compares hashes of what an attacker sent, which says nothing about
	// stored keys; the comparison that grants access takes constant time.
	if !ok || !now.Before(a.until) || subtle.ConstantTimeCompare(a.hash[:], h[:]) != 1 {
		return nil, false
	}
	if a.told(now) {
		select {
		case c.due <- h:
		default:
		}
	}
	return a.id, true
}

// Due brings the keys that whoever fills the cache should look up again.
func (c *Cache) Due() <-chan Hash { return c.due }

// Put remembers a key that was made here, or, if id is nil, that there is none.
func (c *Cache) Put(h Hash, id *Identity, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id != nil {
		c.changes++
	}
	c.put(c.answer(h, id, now))
}

// Asking returns what to give [Cache.PutAnswer] for a question that begins now.
func (c *Cache) Asking() (since uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changes
}

// PutAnswer remembers the store's answer to a question that began at since; id
// is nil if there is no such key. It does not if a key was made or revoked here
// meanwhile: the store may have answered before.
func (c *Cache) PutAnswer(h Hash, id *Identity, now time.Time, since uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == since {
		c.put(c.answer(h, id, now))
	}
}

// PutUntil is Put for an answer that says itself how long it holds. It is not Due before.
func (c *Cache) PutUntil(h Hash, id *Identity, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(answer{hash: h, id: id, until: until})
}

func (c *Cache) answer(h Hash, id *Identity, now time.Time) answer {
	if id == nil {
		return answer{hash: h, until: now.Add(c.cfg.KeepUnknown)}
	}
	a := answer{hash: h, id: id, until: now.Add(c.cfg.Keep), renew: new(atomic.Int64)}
	a.renew.Store(a.until.Add(-c.cfg.Keep / 3).UnixNano())
	return a
}

// put needs mu.
func (c *Cache) put(a answer) {
	if a.id == nil {
		c.good.drop(a.hash)
		c.wrong.put(a)
		return
	}
	c.wrong.drop(a.hash)
	c.good.put(a)
}

// Forget drops everything known of the key with this id, so that a revoked key
// stops working here at once.
func (c *Cache) Forget(keyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, generation := range []map[Hash]answer{c.good.young, c.good.older} {
		for h, a := range generation {
			if a.id.KeyID == keyID {
				delete(generation, h)
			}
		}
	}
}

// Len returns how many keys are remembered, those that do not exist among them.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.good.len() + c.wrong.len()
}
