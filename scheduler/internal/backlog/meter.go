package backlog

import (
	"sync"
	"time"

	"github.com/voicemill/voicemill/platform/bus"
)

const (
	silence    = 5 * time.Second // a worker that says nothing for so long is gone
	maxWorkers = 10_000          // that are remembered; more do not count
	fading     = 0.9             // weight of what was known of a pool's speed before, a report
)

// Meter remembers what workers tell of themselves. It is safe for concurrent use.
type Meter struct {
	mu      sync.Mutex
	workers map[workerOf]told // guarded by mu
	speeds  map[string]Speed  // guarded by mu
}

type workerOf struct{ pool, worker string }

type told struct {
	at    time.Time
	slots int
}

// NewMeter returns a meter that knows of no worker.
func NewMeter() *Meter { return &Meter{workers: map[workerOf]told{}, speeds: map[string]Speed{}} }

// Capacity takes in what a worker says of itself.
func (m *Meter) Capacity(c bus.Capacity) {
	if c.Pool == bus.PoolAssemble || c.Pool == bus.PoolEncode {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := workerOf{c.Pool, c.Worker}
	if _, known := m.workers[id]; !known && len(m.workers) >= maxWorkers {
		return
	}
	m.workers[id] = told{time.Now(), c.Slots}
	s := m.speeds[c.Pool]
	s.Pool = c.Pool
	switch {
	case c.Goodput <= 0:
	case s.Audio == 0:
		s.Audio = c.Goodput
	default:
		s.Audio = fading*s.Audio + (1-fading)*c.Goodput
	}
	if c.ColdStart > 0 {
		s.ColdStart = time.Duration(c.ColdStart * float64(time.Second))
	}
	m.speeds[c.Pool] = s
}

// Known takes in what others, or this process before it started anew, have
// found out; what workers tell now is worth more.
func (m *Meter) Known(list []Speed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range list {
		now := m.speeds[s.Pool]
		if now.Audio == 0 {
			now.Audio = s.Audio
		}
		if now.ColdStart == 0 {
			now.ColdStart = s.ColdStart
		}
		now.Pool = s.Pool
		m.speeds[s.Pool] = now
	}
}

// Speed returns what is known of a replica of a pool, and how many take work now.
func (m *Meter) Speed(pool string) (s Speed, replicas int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, t := range m.workers {
		switch {
		case time.Since(t.at) > silence:
			delete(m.workers, id)
		case id.pool == pool && t.slots > 0:
			replicas++
		}
	}
	return m.speeds[pool], replicas
}

// Speeds returns what is known of every pool.
func (m *Meter) Speeds() []Speed {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Speed, 0, len(m.speeds))
	for _, s := range m.speeds {
		list = append(list, s)
	}
	return list
}
