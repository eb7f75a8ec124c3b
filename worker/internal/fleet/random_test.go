package fleet_test

import (
	"math/rand/v2"
	"sync"
)

// newRandom returns numbers from 0 to 1, the same for a seed.
func newRandom(seed int) func() float64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(uint64(seed), 11)) //nolint:gosec // a test repeats itself
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}
