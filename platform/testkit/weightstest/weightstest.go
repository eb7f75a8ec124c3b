// Package weightstest finds the models that tests speak with.
package weightstest

import (
	"os"
	"testing"

	"github.com/voicemill/voicemill/platform/weights"
)

// Need returns the store that has the models called names. A machine that cannot
// have them says so with VOICEMILL_TEST_OFFLINE, and skips; else it is a failure.
func Need(tb testing.TB, names ...string) weights.Store {
	tb.Helper()
	dir := os.Getenv("VOICEMILL_MODELS_DIR")
	if dir == "" {
		dir = weights.DefaultDir()
	}
	s := weights.Open(dir)
	for _, name := range append([]string{weights.Library}, names...) {
		if _, err := s.Get(name); err != nil {
			if os.Getenv("VOICEMILL_TEST_OFFLINE") != "" {
				tb.Skipf("%v; VOICEMILL_TEST_OFFLINE is set", err)
			}
			tb.Fatalf("%v, or with scripts/setup test", err)
		}
	}
	return s
}
