package api

import "sync"

// quota counts what goes on for long, in all and by API key. It is safe for
// concurrent use.
type quota struct {
	most, mostOfKey int

	mu    sync.Mutex
	total int            // guarded by mu
	keys  map[string]int // guarded by mu; no zeros
}

func newQuota(most, mostOfKey int) *quota {
	return &quota{most: most, mostOfKey: mostOfKey, keys: make(map[string]int)}
}

// take counts one more. full says that it cannot; ofKey, that it is the key's
// own limit. release gives it back and may be called once.
func (q *quota) take(key string) (release func(), full, ofKey bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.keys[key] >= q.mostOfKey {
		return nil, true, true
	}
	if q.total >= q.most {
		return nil, true, false
	}
	q.total++
	q.keys[key]++
	return func() { q.give(key) }, false, false
}

func (q *quota) give(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.keys[key]--; q.keys[key] == 0 {
		delete(q.keys, key)
	}
}

func (q *quota) taken() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
