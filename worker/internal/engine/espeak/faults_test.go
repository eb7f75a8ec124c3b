package espeak_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak"
)

func one(t *testing.T, e *espeak.Engine, q engine.Request) engine.Result {
	t.Helper()
	results, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

func TestHelperThatFailsCostsOneRequest(t *testing.T) {
	t.Parallel()
	for fault, reason := range map[string]string{
		"crash":    "fault on purpose",
		"exit":     "exited",
		"hang":     "in time",
		"garbage":  "not the helper protocol",
		"cut":      "exited",
		"miscount": "not the helper protocol",
		"stale":    "not the helper protocol",
		"odd":      "not the helper protocol",
		"flood":    "not the helper protocol",
		"silent":   "spoke nothing",
		"refuse":   "on purpose",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cfg := espeak.Config{Helper: faultyPath, Helpers: 1, MaxAudio: 5 * time.Second}
			if fault == "hang" {
				cfg.MinTimeout = 300 * time.Millisecond
			}
			e := open(t, cfg)
			r := one(t, e, engine.Request{Text: fault + " now"})
			require.Equal(t, job.Engine, job.KindOf(r.Err))
			require.ErrorContains(t, r.Err, reason)
			require.Equal(t, fault != "silent" && fault != "refuse", errors.Is(r.Err, engine.ErrDied))
			require.Equal(t, errors.Is(r.Err, engine.ErrDied), errors.Is(r.Err, engine.ErrLost))
			q := engine.Request{Text: "well again"}
			enginetest.Good(t, e, q, one(t, e, q))
		})
	}
}

func TestPoisonLeavesTheRestOfTheBatchAlone(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helper: faultyPath, Helpers: 2})
	batch := make([]engine.Request, 16)
	for i := range batch {
		batch[i].Text = enginetest.Sentence(i)
	}
	batch[5].Text = "crash it"
	results, err := e.Synthesize(t.Context(), batch)
	require.NoError(t, err)
	for i, r := range results {
		if i == 5 {
			require.Equal(t, job.Engine, job.KindOf(r.Err))
			continue
		}
		enginetest.Good(t, e, batch[i], r)
	}
}

func TestHelperKilledWhileIdleIsReplacedUnnoticed(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helpers: 1})
	q := enginetest.Request("Are you there?")
	first := one(t, e, q)
	enginetest.Good(t, e, q, first)
	pid, err := strconv.Atoi(strings.TrimPrefix(first.Backend, "pid "))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	e.WaitForExit()
	second := one(t, e, q)
	enginetest.Good(t, e, q, second)
	require.NotEqual(t, first.Backend, second.Backend)
	require.Equal(t, first.Audio, second.Audio)
}

func TestHelperThatIsStoppedIsKilledAtTheDeadline(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helpers: 1, MinTimeout: 500 * time.Millisecond})
	q := enginetest.Request("Are you there?")
	first := one(t, e, q)
	enginetest.Good(t, e, q, first)
	pid, err := strconv.Atoi(strings.TrimPrefix(first.Backend, "pid "))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Equal(t, job.Engine, job.KindOf(one(t, e, q).Err))
	require.True(t, gone(pid))
	enginetest.Good(t, e, q, one(t, e, q))
}

func TestCloseLeavesNoProcess(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helpers: 3})
	var pids []int
	for range 3 {
		r := one(t, e, enginetest.Request("Who is it?"))
		require.NoError(t, r.Err)
		pid, err := strconv.Atoi(strings.TrimPrefix(r.Backend, "pid "))
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	require.NoError(t, e.Close())
	for _, pid := range pids {
		require.True(t, gone(pid))
	}
}

// gone reports whether there is no process pid, not even one to be waited for.
func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestHelperEndsWithItsInputEvenWhenBusy(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), helperPath)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start()) // nobody reads its output, so it blocks in the middle of a text
	frame := `q{"id":1,"voice":"en-us","wpm":175,"text":"` + strings.Repeat("All work and no play. ", 200) + `"}`
	_, err = stdin.Write(append([]byte{0, 0, byte(len(frame) >> 8), byte(len(frame))}, frame...))
	require.NoError(t, err)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
}

func TestMissingPartsAreNamedWithTheCure(t *testing.T) {
	t.Parallel()
	notExecutable := filepath.Join(t.TempDir(), "helper")
	require.NoError(t, os.WriteFile(notExecutable, nil, 0o600))
	for name, c := range map[string]struct {
		cfg  espeak.Config
		cure string
	}{
		"no helper":              {espeak.Config{Helper: "/nonexistent/helper"}, "go build"},
		"helper not executable":  {espeak.Config{Helper: notExecutable}, "go build"},
		"helper of another kind": {espeak.Config{Helper: "/bin/true"}, "exited"},
		"no library":             {espeak.Config{Helper: helperPath, Library: "libnothing.so.1"}, "apt-get install espeak-ng"},
		"no voice data":          {espeak.Config{Helper: helperPath, DataPath: t.TempDir()}, "apt-get install espeak-ng-data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := espeak.New(t.Context(), c.cfg)
			require.ErrorContains(t, err, c.cure)
			require.Equal(t, job.Unavailable, job.KindOf(err))
		})
	}
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]espeak.Config{
		"negative helpers": {Helpers: -1},
		"negative batch":   {MaxBatch: -1},
		"negative timeout": {MinTimeout: -1},
		"short audio":      {MaxAudio: time.Millisecond},
		"nameless voice":   {Voices: map[string]string{"": "en"}},
		"impossible rate":  {Rate: 22051},
	} {
		cfg.Helper = helperPath
		_, err := espeak.New(t.Context(), cfg)
		require.Error(t, err, name)
	}
}
