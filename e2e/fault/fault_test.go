package fault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const (
	jobCount   = 200
	testLimit  = 6 * time.Minute
	killRounds = 3 // of every program
)

// specs are the jobs of the kill test: one-liners, pages with chapters, and
// repeated texts, so that renditions are shared.
func specs(callback string) []map[string]any {
	all := make([]map[string]any, jobCount)
	for i := range all {
		var input map[string]any
		switch i % 4 {
		case 0:
			input = map[string]any{"text": fmt.Sprintf("This is line %d, spoken on its own.", i)}
		case 1:
			input = map[string]any{"media_type": "text/markdown", "text": fmt.Sprintf(
				"# First\n\nJob %d has two chapters. Each has two sentences.\n\n# Second\n\nThe second one is shorter. It ends here.\n", i)}
		case 2:
			input = map[string]any{"text": "A line that many jobs share is rendered once."}
		default:
			input = map[string]any{"segments": []map[string]any{{"text": fmt.Sprintf("Part one of %d.", i)}, {"text": "Part two."}, {"text": "Part three."}}}
		}
		class := "bulk"
		if i%10 == 0 {
			class = "interactive"
		}
		all[i] = map[string]any{
			"input": input, "class": class, "language": "en", "labels": map[string]string{"n": fmt.Sprint(i)},
			"callback": map[string]any{"url": callback},
		}
	}
	return all
}

// perform submits every job, eight at a time, waits for all of them and returns
// the final documents in order.
func perform(ctx context.Context, t *testing.T, c *client, callback string) []jobdoc.Document {
	t.Helper()
	all := specs(callback)
	docs := make([]jobdoc.Document, len(all))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				docs[i], errs[i] = c.submit(ctx, fmt.Sprintf("key-%d", i), all[i])
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	for i := range all {
		require.NoError(t, errs[i])
		doc, err := c.await(ctx, string(docs[i].ID))
		require.NoError(t, err)
		docs[i] = doc
	}
	return docs
}

// sounds returns, for each job, the digest of every WAV.
func sounds(ctx context.Context, t *testing.T, c *client, docs []jobdoc.Document) []map[string]string {
	t.Helper()
	all := make([]map[string]string, len(docs))
	for i, doc := range docs {
		all[i] = map[string]string{}
		for _, a := range doc.Artifacts {
			if !strings.HasSuffix(a.Name, ".wav") {
				continue
			}
			sum, err := c.artifact(ctx, string(doc.ID), a.Name)
			require.NoError(t, err)
			require.Equal(t, a.SHA256, sum, "%s of %s is not what its document says", a.Name, doc.ID)
			all[i][a.Name] = sum
		}
		require.NotEmpty(t, all[i], "job %s has no audio", doc.ID)
	}
	return all
}

func TestNothingIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), testLimit, fmt.Errorf("the test's limit of %s is spent", testLimit))
	defer cancel()
	box := &inbox{got: map[string]map[string]int{}}
	receiver := httptest.NewServer(box)
	t.Cleanup(receiver.Close)

	calm := stage.New(t, bin)
	calmClient := newClient(t, calm)
	want := sounds(ctx, t, calmClient, perform(ctx, t, calmClient, receiver.URL))

	rough := stage.New(t, bin)
	roughClient := newClient(t, rough)
	chaos, stopChaos := context.WithCancel(ctx)
	killed := make(chan error, 1)
	go func() { killed <- killAtRandom(chaos, t, rough) }()
	docs := perform(ctx, t, roughClient, receiver.URL)
	stopChaos()
	require.NoError(t, <-killed)

	seen := map[job.ID]bool{}
	for i, doc := range docs {
		require.Equal(t, job.StateSucceeded, doc.State, "job %d: %+v", i, doc.Error)
		require.False(t, seen[doc.ID], "job %d shares the id %s", i, doc.ID)
		seen[doc.ID] = true
		require.Equal(t, doc.Progress.Segments.Total, doc.Progress.Segments.Done+doc.Progress.Segments.Reused)
	}
	require.Equal(t, want, sounds(ctx, t, roughClient, docs), "the audio differs from the undisturbed run")
	require.Equal(t, jobCount, countJobs(ctx, t, roughClient), "jobs were doubled")
	for _, doc := range docs {
		requireOneCallback(ctx, t, box, string(doc.ID))
	}
}

// killAtRandom kills each program killRounds times, in random order, and starts
// it again, until all are done or ctx ends. It leaves everything running.
func killAtRandom(ctx context.Context, t *testing.T, s *stage.Stage) error {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any bits will do
	t.Logf("seed of the kills: %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not for secrets
	var plan []string
	for range killRounds {
		plan = append(plan, stage.Gateway, stage.Scheduler, stage.Worker, stage.NATS, stage.Database)
	}
	rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	for _, name := range plan {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(100+rng.IntN(700)) * time.Millisecond):
		}
		s.Kill(name)
		// The start must not be cut short by the end of the chaos: everything is
		// needed for the jobs to end.
		if err := s.Start(context.WithoutCancel(ctx), name); err != nil {
			return err
		}
	}
	return nil
}

// countJobs counts every job of the tenant.
func countJobs(ctx context.Context, t *testing.T, c *client) int {
	t.Helper()
	total, cursor := 0, ""
	for {
		status, answer, err := c.insist(ctx, http.MethodGet, "/v1/jobs?limit=100&cursor="+cursor, "", nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next_cursor"`
		}
		require.NoError(t, json.Unmarshal(answer, &page))
		total += len(page.Items)
		if page.Next == "" {
			return total
		}
		cursor = page.Next
	}
}

func requireOneCallback(ctx context.Context, t *testing.T, box *inbox, id string) {
	t.Helper()
	for len(box.ids(id, job.EventSucceeded)) == 0 {
		select {
		case <-ctx.Done():
			require.Fail(t, "no callback", "for %s", id)
		case <-time.After(100 * time.Millisecond):
		}
	}
	require.Len(t, box.ids(id, job.EventSucceeded), 1, "callbacks of %s came under several ids", id)
}

func TestAnAcceptedIDIsKnownWhileTheSchedulerIsDown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	s := stage.New(t, bin)
	c := newClient(t, s)
	s.Kill(stage.Scheduler)
	doc, err := c.submit(ctx, "", map[string]any{"input": map[string]any{"text": "Nobody plans this yet."}, "language": "en"})
	require.NoError(t, err)
	got, err := c.job(ctx, string(doc.ID)) // anything but 200 is an error
	require.NoError(t, err)
	require.Equal(t, job.StateAccepted, got.State)

	require.NoError(t, s.Start(ctx, stage.Scheduler))
	got, err = c.await(ctx, string(doc.ID))
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, got.State)
}

func TestDependenciesThatAreAwayAreAnsweredWith503AndLeaveNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	s := stage.New(t, bin)
	c := newClient(t, s)
	before, err := c.submit(ctx, "", map[string]any{"input": map[string]any{"text": "Accepted before the outage."}, "language": "en"})
	require.NoError(t, err)
	s.Kill(stage.NATS)
	status, _ := c.try(ctx, http.MethodPost, "/v1/jobs", "", []byte(`{"input":{"text":"Refused."},"language":"en"}`))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NoError(t, s.Start(ctx, stage.NATS))

	doc, err := c.await(ctx, string(before.ID))
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, doc.State, "a job accepted before the outage goes on after it")
	after, err := c.submit(ctx, "", map[string]any{"input": map[string]any{"text": "Accepted after the outage."}, "language": "en"})
	require.NoError(t, err)
	doc, err = c.await(ctx, string(after.ID))
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, doc.State)
	require.Equal(t, 2, countJobs(ctx, t, c), "the refused job left something behind")
}
