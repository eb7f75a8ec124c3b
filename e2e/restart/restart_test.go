package restart_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

// The settings of the full run; `make restart-under-load` has them.
const (
	roundsEnv   = "VOICEMILL_RESTART_ROUNDS"   // how often the gateway is replaced, and as often restarted
	rateEnv     = "VOICEMILL_RESTART_RATE"     // requests a second, which must be reached
	watchersEnv = "VOICEMILL_RESTART_WATCHERS" // watches that are open all the time
)

const (
	defaultRounds   = 3
	defaultRate     = 100 // not held to: the machine may be busy with other tests
	defaultWatchers = 24
	reached         = .95 // of the rate
	testLimit       = 15 * time.Minute
	roundSeconds    = 2 // of the load between two rounds
)

// scale is how large a run is.
type scale struct{ rounds, rate, watchers int }

func size(t *testing.T) scale {
	t.Helper()
	number := func(env string, fallback int) int {
		text := os.Getenv(env)
		if text == "" {
			return fallback
		}
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	return scale{number(roundsEnv, defaultRounds), number(rateEnv, defaultRate), number(watchersEnv, defaultWatchers)}
}

// report holds a run that has stopped against what was promised.
func report(t *testing.T, l *load, s scale, name string) {
	t.Helper()
	lost := l.lost()
	t.Log(l.summary(name, len(lost)))
	require.Empty(t, lost)
	require.Empty(t, l.failures)
	require.Positive(t, l.watched.Load())
	if os.Getenv(rateEnv) != "" {
		require.GreaterOrEqual(t, float64(l.sent.Load()), reached*float64(s.rate)*l.took.Seconds(), "the rate was not reached")
	}
}

// gone reports whether a process has ended; nobody may have fetched its status.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := bytes.Cut(b, []byte(") "))
	return err != nil || bytes.HasPrefix(state, []byte("Z"))
}

func TestANewProcessTakesOverAndNoRequestFails(t *testing.T) {
	s, n := stage.New(t, bin, stage.Patient()...), size(t)
	l := start(t, s, n, false, nil)
	l.goOn(t, n.rate)
	for range n.rounds {
		replace(t, s, l, n)
	}
	l.stop()
	report(t, l, n, fmt.Sprintf("%d times a new process took over", n.rounds))
	require.Empty(t, l.severed)
}

// replace has a new process take over and waits until the old one has ended and
// the load goes on.
func replace(t *testing.T, s *stage.Stage, l *load, n scale) {
	t.Helper()
	old := s.PID(stage.Gateway)
	require.NotZero(t, old)
	t.Cleanup(func() { _ = syscall.Kill(s.PID(stage.Gateway), syscall.SIGTERM) }) // the stage ends its own only
	require.NoError(t, syscall.Kill(old, syscall.SIGUSR2))
	require.Eventually(t, func() bool { return s.PID(stage.Gateway) != old }, time.Minute, beat, "nobody took over from %d", old)
	l.goOn(t, n.rate)
	require.Eventually(t, func() bool { return gone(old) }, time.Minute, beat, "the old process %d did not end", old)
}

func TestARestartLosesNoJob(t *testing.T) {
	s, n := stage.New(t, bin), size(t)
	l := start(t, s, n, true, nil)
	l.goOn(t, n.rate)
	for range n.rounds {
		from := time.Now()
		require.NoError(t, s.Stop(stage.Gateway))
		ended := time.Now()
		require.NoError(t, s.Start(t.Context(), stage.Gateway))
		l.away += time.Since(ended)
		l.drained += ended.Sub(from)
		l.goOn(t, n.rate)
	}
	l.stop()
	report(t, l, n, fmt.Sprintf("%d times SIGTERM and a start", n.rounds))
}
