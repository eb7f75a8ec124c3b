package fleet

import (
	"crypto/sha256"
	"slices"
)

const (
	maxSuspects = 512 // texts that are remembered; the oldest is forgotten
	maxCrowd    = 8   // texts that broke alone; more say nothing new
	maxInnocent = 3
	// So many texts spoken since an engine was seen to end of something else, that is over.
	calmAfter = 1000
)

type digest = [sha256.Size]byte

// suspects remembers the texts that broke an engine and were not spoken since. It
// is a value for one owner.
type suspects struct {
	deaths map[digest]int // engines that ended with the text alone
	order  []digest       // oldest first
	broke  []digest       // what broke alone since any text was spoken

	innocent int // deaths of which no text was the cause
	calm     int // texts spoken since the last of these
}

// note makes text a suspect: from now on it is alone with an engine.
func (s *suspects) note(text string) {
	key := sha256.Sum256([]byte(text))
	if s.deaths == nil {
		s.deaths = map[digest]int{}
	}
	if _, known := s.deaths[key]; known {
		return
	}
	if len(s.order) == maxSuspects {
		delete(s.deaths, s.order[0])
		s.order = s.order[1:]
	}
	s.deaths[key] = 0
	s.order = append(s.order, key)
}

// known reports whether text is a suspect.
func (s *suspects) known(text string) bool {
	if len(s.deaths) == 0 {
		return false
	}
	_, known := s.deaths[sha256.Sum256([]byte(text))]
	return known
}

// brokeAlone notes that text broke an engine while it was alone with it, and
// reports whether others did so too.
func (s *suspects) brokeAlone(text string) (crowd bool) {
	key := sha256.Sum256([]byte(text))
	if !slices.Contains(s.broke, key) && len(s.broke) < maxCrowd {
		s.broke = append(s.broke, key)
	}
	return len(s.broke) > 1
}

// ended notes that an engine ended with text alone, and returns how many did.
func (s *suspects) ended(text string) int {
	s.note(text)
	key := sha256.Sum256([]byte(text))
	s.deaths[key]++
	return s.deaths[key]
}

// deathsOf returns how many engines ended with text alone.
func (s *suspects) deathsOf(text string) int {
	if len(s.deaths) == 0 {
		return 0
	}
	return s.deaths[sha256.Sum256([]byte(text))]
}

// acquit forgets what engines ended with text: they end without it too. It is alone
// with an engine as before.
func (s *suspects) acquit(text string) {
	if s.known(text) {
		s.deaths[sha256.Sum256([]byte(text))] = 0
	}
	s.endsOtherwise()
}

// endsOtherwise notes that an engine ended of something else than a text.
func (s *suspects) endsOtherwise() {
	s.innocent, s.calm = min(s.innocent+1, maxInnocent), 0
}

// enough returns how many engines must end with a text alone until that is poison:
// more while they are seen to end of something else.
func (s *suspects) enough() int { return poisonDeaths + s.innocent }

// spoken clears text, and whatever was held against engines.
func (s *suspects) spoken(text string) {
	s.broke = nil
	if s.calm++; s.calm >= calmAfter {
		s.innocent = 0
	}
	if len(s.deaths) == 0 {
		return
	}
	key := sha256.Sum256([]byte(text))
	if deaths, known := s.deaths[key]; known {
		if deaths > 0 {
			s.endsOtherwise()
		}
		delete(s.deaths, key)
		s.order = slices.DeleteFunc(s.order, func(k digest) bool { return k == key })
	}
}
