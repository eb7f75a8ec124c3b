// Package weightstest finds the models that tests speak with.
package weightstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/voicemill/voicemill/platform/weights"
)

// Need returns the store that has the models called names; without them see [Missing].
func Need(tb testing.TB, names ...string) weights.Store {
	tb.Helper()
	dir := os.Getenv("VOICEMILL_MODELS_DIR")
	if dir == "" {
		dir = weights.DefaultDir()
	}
	s := weights.Open(dir)
	for _, name := range append([]string{weights.Library}, names...) {
		if _, err := s.Get(name); err != nil {
			Missing(tb, err)
		}
	}
	return s
}

// Ear returns the folder of the server that hears with a model of models, which has it
// beside it; without one see [Missing].
func Ear(tb testing.TB, models string) (dir string) {
	tb.Helper()
	dir = filepath.Join(filepath.Dir(models), "ear")
	if _, err := os.Stat(filepath.Join(dir, "requirements.txt")); err != nil { // it is there when all of it is
		Missing(tb, err)
	}
	return dir
}

// Missing ends a test that needs what scripts/setup test installs from a network, and err
// says is not there. A machine that cannot have it says so with VOICEMILL_TEST_OFFLINE,
// and skips; else, and in CI always, it is a failure.
func Missing(tb testing.TB, err error) {
	tb.Helper()
	if os.Getenv("VOICEMILL_TEST_OFFLINE") != "" && os.Getenv("CI") == "" {
		tb.Skipf("%v; VOICEMILL_TEST_OFFLINE is set", err)
	}
	tb.Fatalf("%v; run scripts/setup test", err)
}
