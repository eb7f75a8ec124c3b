package limit

import "sync"

// Shares are places that everybody shares and that are held for long. A key may
// take one while it holds fewer than are free, and a tenant while it holds fewer
// than twice that: who wants all of them gets half, or with several keys two
// thirds, and there is always room for the next one. It is safe for concurrent use.
type Shares struct {
	most                   int
	ofKey, ofTenant, ofAll Quota

	mu            sync.Mutex
	taken         int            // guarded by mu
	keys, tenants map[string]int // guarded by mu; no zeros
}

// NewShares returns this many places. The quotas name what a refusal is for: too
// many of the key's own, of its tenant's, or in all.
func NewShares(most int, ofKey, ofTenant, ofAll Quota) *Shares {
	return &Shares{most: most, ofKey: ofKey, ofTenant: ofTenant, ofAll: ofAll, keys: make(map[string]int), tenants: make(map[string]int)}
}

// Take takes a place, or says for which quota there is none. release gives it back
// and is called once.
func (s *Shares) Take(key, tenant string) (release func(), full Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.most - s.taken
	switch {
	case free <= 0:
		return nil, s.ofAll
	case s.keys[key] >= free:
		return nil, s.ofKey
	case s.tenants[tenant] >= 2*free:
		return nil, s.ofTenant
	}
	s.taken++
	s.keys[key]++
	s.tenants[tenant]++
	return func() { s.give(key, tenant) }, None
}

func (s *Shares) give(key, tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.keys[key]--; s.keys[key] == 0 {
		delete(s.keys, key)
	}
	if s.tenants[tenant]--; s.tenants[tenant] == 0 {
		delete(s.tenants, tenant)
	}
}
