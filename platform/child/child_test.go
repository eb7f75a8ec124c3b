package child_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(t *testing.T, script string) *child.Process {
	t.Helper()
	p, err := child.Start(t.Context(), child.Config{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}})
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	return p
}

func TestAChildAnswersAndEndsWithItsInput(t *testing.T) {
	t.Parallel()
	p := shell(t, "cat")
	_, err := io.WriteString(p.Input, "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(p.Output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	require.True(t, p.Alive())
	p.Stop()
	require.False(t, p.Alive())
	require.NoError(t, p.Err())
	require.Error(t, syscall.Kill(p.PID, 0), "nothing is left of it")
}

func TestAChildThatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	p := shell(t, "exec sleep 100 < /dev/null")
	p.Stop()
	exit := &exec.ExitError{}
	require.ErrorAs(t, p.Err(), &exit)
}

func TestHowAChildEndedIsExplained(t *testing.T) {
	t.Parallel()
	p := shell(t, "echo out of memory >&2; exit 3")
	_, err := p.Output.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	err = p.Explain(err)
	require.ErrorIs(t, err, child.ErrExited)
	require.ErrorContains(t, err, "exit status 3; it said: out of memory")
}

func TestTheLastOfWhatAChildSaysIsKept(t *testing.T) {
	t.Parallel()
	p := shell(t, "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done")
	<-p.Exited()
	said := p.Said()
	require.LessOrEqual(t, len(said), 4<<10)
	require.True(t, strings.HasSuffix(said, "line 1999"), said)
}

func TestAChildHasOnlyTheEnvironmentThatItIsGiven(t *testing.T) {
	t.Setenv("VOICEMILL_SECRET", "x")
	p := shell(t, "env")
	out, err := io.ReadAll(p.Output)
	require.NoError(t, err)
	require.NotContains(t, string(out), "VOICEMILL_SECRET")
}

func TestAProgramThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	_, err := child.Start(t.Context(), child.Config{Path: "/nonexistent/helper"})
	require.ErrorContains(t, err, "/nonexistent/helper")
}

// A server's own children hold no pipe open and are not left behind.
func TestAServerEndsWithAllThatItStarted(t *testing.T) {
	t.Parallel()
	for says, script := range map[string]string{
		"ended":  "trap 'echo ended; exit 0' TERM; sleep 1000 & echo $!; while :; do sleep 0.01; done",
		"killed": "trap '' TERM; sleep 1000 & echo $!; echo killed; while :; do sleep 0.01; done",
	} {
		r, w := io.Pipe()
		p, err := child.Start(t.Context(), child.Config{
			Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Server: &child.Server{Says: w, Dir: "/"},
		})
		require.NoError(t, err)
		lines := bufio.NewScanner(r)
		require.True(t, lines.Scan())
		grandchild, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		said := make(chan []string)
		go func() {
			var all []string
			for lines.Scan() {
				all = append(all, lines.Text())
			}
			said <- all
		}()
		p.Stop()
		require.NoError(t, w.Close())
		require.Contains(t, <-said, says)
		require.Eventually(t, func() bool { return gone(grandchild) }, 5*time.Second, time.Millisecond, "it lives on")
	}
}

// gone reports whether a process has ended; one that nobody has waited for has.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}
