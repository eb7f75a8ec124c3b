package apart_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/commands"
)

// startsEnv says how many starts are tried, and that the machine is ours: each then
// has the time that docs/nats.md promises. Beside the tests of other packages two
// are tried, with a limit that tells a hang from a slow machine.
const startsEnv = "VOICEMILL_APART_STARTS"

const (
	fewStarts  = 2
	startLimit = 20 * time.Second
	slowLimit  = 55 * time.Second // less than the minute after which a start gives up
	testLimit  = 10 * time.Minute
	submitters = 4
)

var bin string // the folder with the built programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "voicemill-apart-"); err == nil {
		defer func() { _ = os.RemoveAll(bin) }()
		err = build(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the services, and the servers in the versions that are embedded.
func build(ctx context.Context) error {
	return commands.Build(ctx, bin, append(commands.All(), "github.com/nats-io/nats-server/v2", "github.com/versity/versitygw/cmd/versitygw")...)
}

func TestEverythingStartsAtOnceOnEmptyServers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	starts, limit := fewStarts, slowLimit
	if n, err := strconv.Atoi(os.Getenv(startsEnv)); err == nil {
		starts, limit = n, startLimit
	}
	var took []string
	for i := range starts {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			s := newSite(t) //nolint:contextcheck // what it starts lives as long as the test
			began := time.Now()
			s.start(t)
			ready := s.ready(ctx, t).Sub(began)
			took = append(took, ready.Round(100*time.Millisecond).String())
			require.Less(t, ready, limit)
			s.requireCopies(ctx, t)
		})
	}
	t.Logf("ready after %s", strings.Join(took, " "))
}

// deployed is a site that clients can use.
type deployed struct {
	*site
	key string
}

func (d deployed) URL() string { return "http://" + d.value("gateway", "VOICEMILL_LISTEN") }
func (d deployed) Key() string { return d.key }

func deploy(ctx context.Context, t *testing.T) (*site, *caller.Caller) {
	t.Helper()
	s := newSite(t) //nolint:contextcheck // what it starts lives as long as the test
	s.start(t)
	s.ready(ctx, t)
	file := filepath.Join(s.dir, "first-key")
	code, _, problem, err := stage.Run(ctx, filepath.Join(bin, "voicemill"), s.env["gateway"], "init", "--first-key", file)
	require.NoError(t, err)
	require.Zero(t, code, problem)
	key, err := os.ReadFile(file)
	require.NoError(t, err)
	return s, caller.New(t, deployed{s, strings.TrimSpace(string(key))}) //nolint:contextcheck // its connections end with the test
}

// requireCopies checks that any one NATS server may go.
func (s *site) requireCopies(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, name := range []string{"JOBS", "WORK"} {
		require.Equal(t, 3, s.stream(ctx, t, name).Replicas, name)
	}
}

func book(chapters int) map[string]any {
	var b strings.Builder
	for c := range chapters {
		fmt.Fprintf(&b, "# Chapter %d\n\n", c+1)
		for p := range 5 {
			fmt.Fprintf(&b, "In chapter %d this is paragraph number %d. It was written to be spoken once, and it says so plainly.\n\n", c+1, p+1)
		}
	}
	return map[string]any{"input": map[string]any{"text": b.String(), "media_type": job.MediaMarkdown}, "language": "en"}
}

func TestNothingIsLostWithTheLeaderOfNATSAndCopiesStayOverRestarts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	s, c := deploy(ctx, t)
	s.requireCopies(ctx, t)
	doc, err := c.Submit(ctx, "", book(3))
	require.NoError(t, err)
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, doc.State, "%+v %+v", doc.Error, doc.Failures)

	accepted := s.submitWhileTheLeaderDies(ctx, t, c)
	for _, id := range accepted {
		doc, err := c.Await(ctx, id)
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State, "%+v %+v", doc.Error, doc.Failures)
	}
	for name := range services {
		require.NoError(t, s.stop(name, syscall.SIGTERM))
		s.service(t, name)
		s.ready(ctx, t)
		s.requireCopies(ctx, t)
	}
}

// submitWhileTheLeaderDies hands jobs in, kills the server that leads JOBS among
// them and starts it again. It returns the jobs that were accepted.
func (s *site) submitWhileTheLeaderDies(ctx context.Context, t *testing.T, c *caller.Caller) []string {
	t.Helper()
	submits, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex // guards accepted
	var accepted []string
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(accepted) }
	for i := range submitters {
		all.Go(func() {
			for n := 0; submits.Err() == nil; n++ {
				text := fmt.Sprintf("This is line %d of client %d.", n, i)
				doc, err := c.Submit(ctx, fmt.Sprintf("line-%d-%d", i, n), map[string]any{"input": map[string]any{"text": text}, "language": "en"})
				if err != nil {
					t.Errorf("a submit with retries failed: %v", err)
					return
				}
				mu.Lock()
				accepted = append(accepted, string(doc.ID))
				mu.Unlock()
			}
		})
	}
	until := func(n int) {
		require.Eventually(t, func() bool { return count() >= n || t.Failed() }, 2*time.Minute, 10*time.Millisecond)
	}
	until(10)
	leader := "nats-" + strings.TrimPrefix(s.stream(ctx, t, "JOBS").Leader, "n")
	require.NoError(t, s.stop(leader, syscall.SIGKILL))
	killed, before := time.Now(), count()
	until(before + submitters + 1) // those in flight may have been accepted already
	t.Logf("%d jobs accepted, the leader killed, accepted again after %s", before, time.Since(killed).Round(10*time.Millisecond))
	s.nats(t, leader)
	until(before + 20)
	cancel()
	all.Wait()
	return accepted
}
