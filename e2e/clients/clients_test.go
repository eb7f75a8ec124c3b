package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

// testLimit bounds one test on a machine that is busy with others.
const testLimit = 3 * time.Minute

func TestEveryClientIsServed(t *testing.T) {
	t.Parallel()
	origin := pages(t)
	solo := stage.NewSolo(t, bin, stage.SoloConfig{Args: []string{"--origins=" + origin}})
	for client, tests := range map[string]map[string]func(*testing.T){
		"curl": curlTests(solo), "a page": pageTests(solo, origin), "frames": frameTests(solo), "openai-go": openAITests(solo),
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, test)
			}
		})
	}
}

// requireProgram returns the path of a program that scripts/setup installs.
func requireProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is needed: run scripts/setup test", name)
	return path
}

// story is long enough to be watched while it is spoken, and no other test's.
func story(who string) string {
	text := ""
	for n := range 12 {
		text += fmt.Sprintf("This is sentence number %d of the story that %s asked for, and nobody else did.\n\n", n+1, who)
	}
	return text
}
