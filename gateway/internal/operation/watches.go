package operation

import (
	"strconv"
	"sync"

	"github.com/voicemill/voicemill/gateway/internal/problem"
)

// watches are those that are open, in all and by API key. It is safe for
// concurrent use.
type watches struct {
	most, mostOfKey int

	mu    sync.Mutex
	total int                        // guarded by mu
	keys  map[string]map[*Watch]bool // guarded by mu; none of them empty
}

func newWatches(most, mostOfKey int) *watches {
	return &watches{most: most, mostOfKey: mostOfKey, keys: make(map[string]map[*Watch]bool)}
}

// add counts one more.
func (s *watches) add(w *Watch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.keys[w.c.KeyID]
	switch {
	case len(of) >= s.mostOfKey:
		return &problem.Error{Slug: problem.TooManyWatches, Detail: "This API key has " + strconv.Itoa(s.mostOfKey) + " watches already.", Shed: shedKeyWatches}
	case s.total >= s.most:
		return &problem.Error{Slug: problem.Overloaded, Detail: "Too many watches are open; ask for the job instead.", Shed: shedWatches}
	case of == nil:
		of = make(map[*Watch]bool)
		s.keys[w.c.KeyID] = of
	}
	s.total++
	of[w] = true
	return nil
}

func (s *watches) remove(w *Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if delete(s.keys[w.c.KeyID], w); len(s.keys[w.c.KeyID]) == 0 {
		delete(s.keys, w.c.KeyID)
	}
}

// end ends the watches of a key that was revoked here. Those of one that was
// revoked elsewhere, and of a token that has ended, find out by themselves.
func (s *watches) end(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.keys[key] {
		w.end(w.c.Shown.nobody())
	}
}

// open counts a watch until it is released.
func (o *Operations) open(w *Watch) (release func(), err error) {
	if err := o.watches.add(w); err != nil {
		return nil, err
	}
	vacate, err := o.occupy(w.c)
	if err != nil {
		o.watches.remove(w)
		return nil, err
	}
	return func() { o.watches.remove(w); vacate() }, nil
}

// Watches returns how many watches are open.
func (o *Operations) Watches() int {
	o.watches.mu.Lock()
	defer o.watches.mu.Unlock()
	return o.watches.total
}
