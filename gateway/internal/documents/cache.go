package documents

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

// Config bounds a Cache. Start from [DefaultConfig].
type Config struct {
	Bytes  int           // most bytes that documents take, about
	MaxAge time.Duration // how long a document is believed without any news; 0 keeps none
}

// DefaultConfig keeps 32 MiB for a second.
func DefaultConfig() Config { return Config{Bytes: 32 << 20, MaxAge: time.Second} }

// maxAge bounds what may be configured: a client would not understand more.
const maxAge = time.Minute

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Bytes < shards*minShare || c.MaxAge < 0 || c.MaxAge > maxAge {
		return fmt.Errorf("documents: bytes (%d) must be at least %d and max age (%s) from 0 to %s", c.Bytes, shards*minShare, c.MaxAge, maxAge)
	}
	return nil
}

const (
	shards   = 16       // so that event loops seldom wait for each other
	minShare = 64 << 10 // bytes of a shard
	largest  = 2        // parts of a shard that one document may take
	// A document is kept as JSON and as a structure, which is about as large again,
	// beside the entry.
	overhead = 1 << 10
)

// Document is one state of a job as its owner sees it. It is never changed.
type Document struct {
	Tenant job.Tenant
	Job    *jobdoc.Document
	Body   []byte // Job as JSON
	ETag   string
}

func (d *Document) size() int { return 2*len(d.Body) + overhead }

// rank orders the states of one job.
func rank(version int64, final bool) int64 {
	r := 2 * version
	if final {
		r++
	}
	return r
}

func (d *Document) rank() int64 { return rank(d.Job.Version, d.Job.State.Final()) }

// Cache keeps documents. It is safe for concurrent use.
type Cache struct {
	cfg    Config
	seed   maphash.Seed
	shards [shards]shard
}

// shard is the part of a cache that some jobs are in.
type shard struct {
	mu       sync.Mutex
	kept     map[job.ID]*entry   // guarded by mu
	order    entry               // guarded by mu: head of the circular list, next is the oldest
	bytes    int                 // guarded by mu
	joinable map[job.ID]*Reading // guarded by mu
	readings map[job.ID]*Reading // guarded by mu: all that are under way, linked by next
}

type entry struct {
	doc        *Document
	until      time.Time
	prev, next *entry
}

// New returns an empty cache.
func New(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.kept, s.joinable, s.readings = make(map[job.ID]*entry), make(map[job.ID]*Reading), make(map[job.ID]*Reading)
		s.order.prev, s.order.next = &s.order, &s.order
	}
	return c, nil
}

func (c *Cache) shard(id job.ID) *shard {
	return &c.shards[maphash.String(c.seed, string(id))%shards]
}

// Lookup returns the document of a job of that tenant if it may still be
// believed, else nil. It allocates nothing.
func (c *Cache) Lookup(tenant job.Tenant, id []byte, now time.Time) *Document {
	s := &c.shards[maphash.Bytes(c.seed, id)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[job.ID(id)].believed(tenant, now)
}

// believed returns the document if it is the tenant's and young enough.
func (e *entry) believed(tenant job.Tenant, now time.Time) *Document {
	if e == nil || e.doc.Tenant != tenant || !now.Before(e.until) {
		return nil
	}
	return e.doc
}

// Join returns what Lookup does. Without a document, then is called with one
// later, or with the error of the reading, on the goroutine that settles it. If
// reading is not nil the caller must do it: read the job, now, and settle it,
// even after a failure.
func (c *Cache) Join(tenant job.Tenant, id job.ID, now time.Time, then func(*Document, error)) (d *Document, reading *Reading) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.kept[id].believed(tenant, now); d != nil {
		return d, nil
	}
	if r := s.joinable[id]; r != nil && r.tenant == tenant {
		r.waiting = append(r.waiting, then)
		return nil, nil
	}
	r := &Reading{c: c, s: s, id: id, tenant: tenant, began: now, waiting: []func(*Document, error){then}, next: s.readings[id]}
	s.readings[id], s.joinable[id] = r, r
	return nil, r
}

// Hint says that the job has a version, for example because the bus said so; 0
// says that it was cancelled before its first.
func (c *Cache) Hint(id job.ID, version int64) { c.reached(id, rank(version, version == 0)) }

// Seen says that somebody is about to be shown d.
func (c *Cache) Seen(d *jobdoc.Document) { c.reached(d.ID, rank(d.Version, d.State.Final())) }

func (c *Cache) reached(id job.ID, at int64) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.kept[id]; e != nil && e.doc.rank() < at {
		s.dropLocked(e)
	}
	s.supersedeLocked(id, at)
}

// supersedeLocked makes readings that began before now keep to what is at least
// of that rank.
func (s *shard) supersedeLocked(id job.ID, at int64) {
	delete(s.joinable, id)
	for r := s.readings[id]; r != nil; r = r.next {
		r.least = max(r.least, at)
	}
}

// Forget drops what is known of a job: this process has changed it.
func (c *Cache) Forget(id job.ID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.kept[id]; e != nil {
		s.dropLocked(e)
	}
	delete(s.joinable, id)
	for r := s.readings[id]; r != nil; r = r.next {
		r.void = true
	}
}

// Sweep drops what is not believed any more, so that an idle cache is empty.
func (c *Cache) Sweep(now time.Time) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.expireLocked(now)
		s.mu.Unlock()
	}
}

func (s *shard) expireLocked(now time.Time) {
	for e := s.order.next; e != &s.order && !now.Before(e.until); e = s.order.next {
		s.dropLocked(e)
	}
}

func (s *shard) dropLocked(e *entry) {
	delete(s.kept, e.doc.Job.ID)
	e.prev.next, e.next.prev = e.next, e.prev
	s.bytes -= e.doc.size()
}

// Bytes returns about how many bytes the kept documents take.
func (c *Cache) Bytes() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}
