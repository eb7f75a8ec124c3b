// Package weightstest finds the models that tests speak with.
package weightstest

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/weights"
)

// Need returns a store with the models called names and the library, and with nothing
// else that is installed: whoever takes all models that are there must not take more on a
// machine that has more. Without them see [Missing].
func Need(tb testing.TB, names ...string) weights.Store {
	tb.Helper()
	from, dir := weights.Open(installed()), tb.TempDir()
	for _, name := range append([]string{weights.Library}, names...) {
		m, err := from.Get(name)
		if err != nil {
			Missing(tb, err)
		}
		require.NoError(tb, os.Symlink(m.Dir, filepath.Join(dir, name)))
	}
	return weights.Open(dir)
}

// Has says whether a model is installed here.
func Has(name string) bool {
	_, err := weights.Open(installed()).Get(name)
	return err == nil
}

// Ear returns the folder of the server that hears; without one see [Missing].
func Ear(tb testing.TB) (dir string) {
	tb.Helper()
	dir = filepath.Join(filepath.Dir(installed()), "ear")
	if _, err := os.Stat(filepath.Join(dir, "requirements.txt")); err != nil { // it is there when all of it is
		Missing(tb, err)
	}
	return dir
}

// installed is the folder of the models of this machine.
func installed() string { return cmp.Or(os.Getenv("VOICEMILL_MODELS_DIR"), weights.DefaultDir()) }

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
