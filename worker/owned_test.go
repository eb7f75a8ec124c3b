package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// ownRounds is how often an engine is replaced or killed.
func ownRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("VOICEMILL_FAULT_ROUNDS")
	if v == "" {
		return 2
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err)
	return n
}

// startOwn runs a worker with a pool whose engine it starts itself, and returns a file
// with the process of each that it started.
func startOwn(t *testing.T, w *world, simulator string, change func(*Command)) (pids string) {
	t.Helper()
	pids = filepath.Join(t.TempDir(), "pids")
	command := &Command{Argv: []string{
		"/bin/sh", "-c", "echo $$ >> " + pids + `; exec "$0" "$@"`, simulator, "-http", "127.0.0.1:{port}", "-rate", "8000", "-cost", "continuous:1=15,4=60",
	}}
	if change != nil {
		change(command)
	}
	cfg := quickConfig()
	cfg.Pools = []Pool{{
		Name: "test", Engine: "openai-speech", Command: command,
		OpenAI: OpenAIConfig{Dialect: "vllm-omni", BackendRate: 8000, Voices: map[string]Voice{"narrator-en": {Name: "aria", Language: "en"}}},
	}}
	deps, ready := w.deps(t), make(chan struct{})
	deps.Ready = func() { close(ready) }
	t.Cleanup(func() { // after the worker's end
		for _, pid := range started(t, pids) {
			require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "a process is left over")
		}
	})
	background(t, func(ctx context.Context) error { return Run(ctx, cfg, deps) })
	<-ready
	return pids
}

func started(t *testing.T, pids string) (all []int) {
	t.Helper()
	b, err := os.ReadFile(pids)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(t, err)
		all = append(all, pid)
	}
	return all
}

func TestAnOwnedEngineIsReplacedAndKilledUnderLoad(t *testing.T) {
	t.Parallel()
	simulator, rounds := enginetest.Simulator(t), ownRounds(t)
	t.Run("replaced", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		pids := startOwn(t, w, simulator, func(c *Command) { c.Segments = 20 })
		p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(110*(rounds+1))...))
		require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, time.Minute+time.Duration(rounds)*5*time.Second))
		require.GreaterOrEqual(t, len(started(t, pids))-1, rounds)
		require.Equal(t, 1, w.attempts(t, p.ID), "an attempt was charged")
		w.checkBook(t, p.ID)
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		pids := startOwn(t, w, simulator, nil)
		p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(30*(rounds+1))...))
		done := func() int {
			return w.number(t, `select count(*) from segments where job_id = $1 and state = 'done'`, p.ID)
		}
		for round := range rounds {
			require.Eventually(t, func() bool { return len(started(t, pids)) > round }, within, 10*time.Millisecond, "it is not started again")
			before := done()
			require.Eventually(t, func() bool { return done() >= before+5 }, within, 10*time.Millisecond, "work does not resume after %d kills", round)
			all := started(t, pids)
			_ = syscall.Kill(all[len(all)-1], syscall.SIGKILL)
		}
		require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, time.Minute+time.Duration(rounds)*5*time.Second))
		require.GreaterOrEqual(t, len(started(t, pids))-1, rounds, fmt.Sprint(started(t, pids)))
		require.Equal(t, 1, w.attempts(t, p.ID), "an attempt was charged")
		w.checkBook(t, p.ID)
	})
}
