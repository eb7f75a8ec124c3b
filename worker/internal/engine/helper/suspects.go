package helper

import (
	"crypto/sha256"
	"slices"
	"sync"
)

// maxSuspects limits the texts that are remembered; the oldest is forgotten.
const maxSuspects = 512

// suspects remembers the texts that ended a helper. It is safe for concurrent
// use.
type suspects struct {
	mu    sync.Mutex
	count map[[sha256.Size]byte]int // guarded by mu
	order [][sha256.Size]byte       // guarded by mu; oldest first
}

// blame counts one more death and returns how many text has caused.
func (s *suspects) blame(text string) int {
	key := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = make(map[[sha256.Size]byte]int)
	}
	if s.count[key] == 0 {
		if len(s.order) == maxSuspects {
			delete(s.count, s.order[0])
			s.order = s.order[1:]
		}
		s.order = append(s.order, key)
	}
	s.count[key]++
	return s.count[key]
}

// clear forgets text, which was spoken after all.
func (s *suspects) clear(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.count) == 0 {
		return
	}
	key := sha256.Sum256([]byte(text))
	if s.count[key] > 0 {
		delete(s.count, key)
		s.order = slices.DeleteFunc(s.order, func(k [sha256.Size]byte) bool { return k == key })
	}
}
