package espeak_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/testkit/commands"
)

// The binaries that TestMain builds.
var helperPath, faultyPath string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "espeak-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	helperPath, faultyPath = filepath.Join(dir, "voicemill-espeak"), filepath.Join(dir, "faulty")
	const faulty = "github.com/voicemill/voicemill/worker/internal/engine/espeak/testdata/faulty"
	if err := commands.Build(context.Background(), dir, commands.Espeak, faulty); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
