package owned_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/openaispeech"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/owned"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const within = 30 * time.Second

// place is a fleet of engines that it starts itself, and what was started.
type place struct {
	*fleet.Fleet

	starts string // a file with a line for each: its process and its port
}

// run starts a fleet whose engines are simulated.
func run(t *testing.T, simulator string, change func(*owned.Config)) place {
	t.Helper()
	p := place{starts: filepath.Join(t.TempDir(), "starts")}
	cfg := owned.Config{
		Argv: []string{"/bin/sh", "-c", `echo $$ $0 >> ` + p.starts + `; exec "$@"`, "{port}", simulator, "-rate", "2400", "-http", "127.0.0.1:{port}"},
		Env:  []string{"PATH=/usr/bin:/bin"}, Prove: fleet.Prove, Look: 10 * time.Millisecond, MinPause: 10 * time.Millisecond, Log: testkit.Log(t),
		Open: func(address string) (engine.Engine, error) {
			all, err := openaispeech.New(openaispeech.Config{
				Backends: []string{"http://" + address}, Dialect: openaispeech.VLLMOmni, BackendRate: enginetest.Rate, Voices: map[string]openaispeech.Voice{"aria": {Name: "aria", Language: "en"}},
			})
			if err != nil {
				return nil, err
			}
			return all[0], nil
		},
	}
	change(&cfg)
	engines, err := owned.New(cfg)
	require.NoError(t, err)
	drivers := make([]engine.Engine, len(engines))
	for i, e := range engines {
		drivers[i] = e
	}
	p.Fleet, err = fleet.New(fleet.Config{Pool: "own", Check: check.Default(), CallMin: 10 * time.Second, CallFactor: 20, Log: testkit.Log(t)}, drivers...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		for _, s := range p.started(t) {
			require.ErrorIs(t, syscall.Kill(s.pid, 0), syscall.ESRCH, "a process is left over")
		}
	})
	return p
}

type start struct {
	pid  int
	port string
}

func (p place) started(t *testing.T) (all []start) {
	t.Helper()
	b, err := os.ReadFile(p.starts)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		pid, port, ok := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(pid)
		require.NoError(t, err)
		require.True(t, ok, line)
		all = append(all, start{n, port})
	}
	return all
}

// speak has a text spoken as soon as somebody can.
func (p place) speak(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		var err error
		p.Speak(ctx, []engine.Request{{ID: "1", Text: "A sentence for somebody to say.", Seconds: 2}}, func(_ int, a fleet.Answer) { err = a.Err })
		if err == nil {
			return
		}
		require.ErrorIs(t, err, fleet.ErrWaits, "the text was blamed")
		for ready, changed := p.Ready(); !ready; ready, changed = p.Ready() {
			select {
			case <-changed:
			case <-ctx.Done():
				require.NoError(t, ctx.Err(), p.State().Reason)
			}
		}
	}
}

func (p place) awaitStarts(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(p.started(t)) >= n }, within, 5*time.Millisecond, "of %d engines were started %d", n, len(p.started(t)))
}

// One simulator is built for all of these.
func TestOwnedEngines(t *testing.T) {
	t.Parallel()
	simulator := enginetest.Simulator(t)
	for name, test := range map[string]func(*testing.T, string){
		"nobody wants it": anEngineThatNobodyWantsEndsAndIsStartedOnDemand,
		"too much memory": anEngineThatTakesTooMuchMemoryIsReplaced,
		"no room for two": whereThereIsNoRoomForTwoTheOldEngineEndsFirst,
		"sick":            anEngineThatIsSickIsStartedAnew,
		"does not start":  aCommandThatDoesNotStartIsAPoolThatStarts,
		"replicas":        replicasShareTheWork,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, simulator)
		})
	}
}

func anEngineThatNobodyWantsEndsAndIsStartedOnDemand(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(c *owned.Config) { c.Idle = 50 * time.Millisecond })
	p.speak(t)
	first := p.started(t)
	require.Len(t, first, 1)
	require.Eventually(t, func() bool { return syscall.Kill(first[0].pid, 0) != nil }, within, 5*time.Millisecond)
	require.False(t, p.State().Waiting, "a pool that sleeps takes work")
	require.NoError(t, p.Probe(t.Context()))
	p.speak(t)
	require.Greater(t, len(p.started(t)), 1)
}

func anEngineThatTakesTooMuchMemoryIsReplaced(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(c *owned.Config) {
		c.Argv = append(c.Argv, "-faults", `{"leak_kb": 65536}`)
		c.RSS = 256 << 20
	})
	for range 6 {
		p.speak(t)
	}
	p.awaitStarts(t, 2)
	p.speak(t)
}

func whereThereIsNoRoomForTwoTheOldEngineEndsFirst(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(c *owned.Config) { c.Alone, c.Age = true, 100*time.Millisecond })
	for len(p.started(t)) < 4 {
		p.speak(t)
		alive := 0
		for _, s := range p.started(t) {
			if syscall.Kill(s.pid, 0) == nil {
				alive++
			}
		}
		require.LessOrEqual(t, alive, 1)
	}
}

// The fleet finds that it speaks no canary; nobody but a new process mends that.
func anEngineThatIsSickIsStartedAnew(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(*owned.Config) {})
	p.speak(t)
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://127.0.0.1:"+p.started(t)[0].port+"/sim/faults", strings.NewReader(`{"rates": {"silence": 1}}`))
	require.NoError(t, err)
	q.Close = true
	r, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	p.speak(t)
	require.Len(t, p.started(t), 2)
}

func aCommandThatDoesNotStartIsAPoolThatStarts(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(c *owned.Config) { c.Argv = append(c.Argv, "-cost", "nonsense") })
	p.awaitStarts(t, 3)
	s := p.State()
	require.True(t, s.Waiting)
	require.Equal(t, fleet.Starting, s.Why)
	require.Error(t, p.Probe(t.Context()))
}

func replicasShareTheWork(t *testing.T, simulator string) {
	t.Helper()
	p := run(t, simulator, func(c *owned.Config) {
		c.Replicas = 2
		c.Argv = append(c.Argv, "-seed", owned.Replica)
	})
	require.Eventually(t, func() bool { return p.State().Well == 2 }, within, 5*time.Millisecond)
	require.Len(t, p.started(t), 2)
}

func TestACommandThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]owned.Config{
		"argv is empty":   {},
		"where the":       {Argv: []string{"serve"}},
		"replicas is 100": {Argv: []string{"serve", owned.Port}, Replicas: 100},
		"negative":        {Argv: []string{"serve", owned.Port}, Segments: -1},
	} {
		require.ErrorContains(t, c.Validate(), says)
	}
}
