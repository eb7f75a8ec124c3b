package keep_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const (
	fewJobs   = 240
	batch     = 120 // jobs that are handed in together
	keeper    = "keeper"
	uploads   = 10 // of a hundred jobs one in so many is a document
	different = 3  // of so many jobs one says what no other says

	databaseRests = 15 * time.Second // between two kills: a server that crashes more often is given up
)

// jobs is how many there are: VOICEMILL_KEEP_JOBS, or a few.
func jobs(t *testing.T) int {
	t.Helper()
	text := os.Getenv("VOICEMILL_KEEP_JOBS")
	if text == "" {
		return fewJobs
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// door is where a deployment takes jobs.
type door struct{ s *stage.Stage }

func (d door) URL() string { return d.s.URL }
func (d door) Key() string { return d.s.Key }

// site is a deployment whose scheduler looks often for what is to go.
type site struct {
	*stage.Stage
	t   *testing.T
	c   *caller.Caller
	db  *pg.Pool
	ids []string
}

func deploy(t *testing.T) *site {
	t.Helper()
	ctx := t.Context()
	s := &site{Stage: stage.New(t, bin), t: t}
	s.Away(stage.Scheduler)
	s.Another(t, stage.Scheduler, keeper, "VOICEMILL_RETENTION_EVERY=300ms", "VOICEMILL_RETENTION_GARBAGE=1s", "VOICEMILL_RETENTION_ORPHANS=1h")
	s.c = caller.New(t, door{s.Stage})
	var err error
	s.db, err = pg.Connect(ctx, pg.Config{DSN: config.NewSecret(s.Setting("VOICEMILL_DB_DSN"))}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	return s
}

func TestTheBucketHoldsWhatRowsNameWhateverHappens(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Minute)
	defer cancel()
	s := deploy(t)
	kills := s.trouble(ctx)
	total := jobs(t)
	for len(s.ids) < total {
		s.submit(ctx, min(batch, total-len(s.ids)))
		s.some(ctx)
		if len(s.ids) >= total/3 && len(s.ids) < 2*total/3 {
			s.exec(ctx, `update tenants set keep_text = '1 second', keep_audio = '2 seconds', keep_jobs = '3 seconds'`)
		} else {
			s.exec(ctx, `update tenants set keep_text = null, keep_audio = null, keep_jobs = null`)
		}
	}
	n := kills()
	require.Positive(t, n, "nothing was killed, so that nothing was shown")
	testkit.AwaitIntake(t, s.Setting("VOICEMILL_BUS_URL"))
	s.until(ctx, `select count(*) from jobs where finished_at is null`)
	require.NoError(t, s.Stop(keeper)) // nothing is on its way to its row any more, so that what is young may go, too
	s.Another(t, stage.Scheduler, "sweeper", "VOICEMILL_RETENTION_EVERY=300ms", "VOICEMILL_RETENTION_GARBAGE=1s", "VOICEMILL_RETENTION_ORPHANS=1s")
	s.exec(ctx, `update renditions set used_on = used_on - 40 where get_byte(key, 0) < 128`) // 40 days later
	s.until(ctx, `select count(*) from renditions where get_byte(key, 0) < 128`)
	s.until(ctx, `select count(*) from garbage where gone_at is null`)
	report := s.clean(ctx)
	kept, left := s.count(ctx, `select (select coalesce(sum(bytes), 0) from renditions) + (select coalesce(sum(bytes), 0) from artifacts)`), s.count(ctx, `select count(*) from jobs`)
	t.Logf("%d jobs, %d kills: %d jobs, %d objects and %d rows are left, %d bytes in the bucket for %d that are kept", total, n, left, report.Objects, report.Rows, report.Bytes, kept)
	require.Positive(t, left, "nothing was kept, so that nothing was shown")
	require.Less(t, left, total)
	require.InDelta(t, kept, report.Bytes, 0.05*float64(kept)+64<<10, "the rest are documents and the probe")
	require.Equal(t, kept, s.count(ctx, `select (select coalesce(sum(renditions + artifacts), 0) from stored) + (select coalesce(sum(renditions + artifacts), 0) from stored_changes)`),
		"what the tally of stored bytes says")
	require.Equal(t, s.count(ctx, `select coalesce(sum(max_bytes), 0) from uploads`),
		s.count(ctx, `select (select coalesce(sum(uploads), 0) from stored) + (select coalesce(sum(uploads), 0) from stored_changes)`), "and of uploads")
}

// upload uploads a document, anew while the bucket is away.
func (s *site) upload(ctx context.Context, text []byte) string {
	for {
		up, err := s.c.Upload(ctx, "text/markdown", text)
		if err == nil {
			return up
		}
		select {
		case <-ctx.Done():
			require.NoError(s.t, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// submit hands in n jobs: short lines, of which many are the same, and documents.
func (s *site) submit(ctx context.Context, n int) {
	var b bytes.Buffer
	say := json.NewEncoder(&b)
	for range n {
		if rand.N(100) < 100/uploads { //nolint:gosec // chance, not secrecy
			text := fmt.Sprintf("# One\n\nThis is document %d.\n\n# Two\n\nIt has another chapter.", rand.N(1_000_000))
			up := s.upload(ctx, []byte(text))
			require.NoError(s.t, say.Encode(map[string]any{"input": map[string]any{"upload": up}, "language": "en"}))
			continue
		}
		word := rand.N(50) //nolint:gosec // chance, not secrecy
		if rand.N(different) == 0 {
			word = rand.N(1_000_000) //nolint:gosec // likewise
		}
		require.NoError(s.t, say.Encode(map[string]any{"input": map[string]any{"text": fmt.Sprintf("Line %d.", word)}, "language": "en"}))
	}
	key := fmt.Sprint(len(s.ids))
	require.Eventually(s.t, func() bool { return s.accepted(ctx, b.Bytes(), key) }, time.Minute, 50*time.Millisecond)
}

// accepted reports whether every line of a batch was taken. The same batch again
// is the same jobs.
func (s *site) accepted(ctx context.Context, body []byte, key string) bool {
	answer, err := s.c.Insist(ctx, http.MethodPost, "/v1/jobs:batch", body, "Content-Type", "application/x-ndjson", "Idempotency-Key", key)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, answer.Status, "%s", answer.Body)
	var ids []string
	lines := bufio.NewScanner(bytes.NewReader(answer.Body))
	for lines.Scan() {
		var line struct {
			ID      string
			Status  int
			Problem json.RawMessage
		}
		require.NoError(s.t, json.Unmarshal(lines.Bytes(), &line))
		if line.Status != http.StatusAccepted {
			require.Equal(s.t, http.StatusServiceUnavailable, line.Status, "%s", line.Problem)
			return false
		}
		ids = append(ids, line.ID)
	}
	s.ids = append(s.ids, ids...)
	return true
}

// some cancels and deletes some jobs, whatever they are at.
func (s *site) some(ctx context.Context) {
	var chosen []string
	for range batch / 3 {
		chosen = append(chosen, s.ids[rand.N(len(s.ids))]) //nolint:gosec // chance, not secrecy
	}
	for _, id := range chosen[:4] {
		answer, err := s.c.Insist(ctx, http.MethodPost, "/v1/jobs/"+id+"/cancel", nil)
		require.NoError(s.t, err)
		require.Contains(s.t, []int{http.StatusOK, http.StatusNotFound}, answer.Status, "%s", answer.Body)
	}
	require.Eventually(s.t, func() bool {
		code, _, stderr := s.run(ctx, append([]string{"delete"}, chosen...)...)
		require.Contains(s.t, []int{0, 1, 4}, code, stderr) // 1: the database is away
		return code != 1
	}, time.Minute, 50*time.Millisecond)
}

func (s *site) run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"VOICEMILL_DB_DSN", "VOICEMILL_BLOB_ENDPOINT", "VOICEMILL_BLOB_ACCESS_KEY", "VOICEMILL_BLOB_SECRET_KEY"} {
		env = append(env, name+"="+s.Setting(name))
	}
	code, stdout, stderr, err := stage.Run(ctx, filepath.Join(bin, "voicemill"), env, args...)
	require.NoError(s.t, err)
	return code, stdout, stderr
}

// trouble kills one part after another, and now and then all at once, as a power
// cut does. What it returns ends that and says how many were killed.
func (s *site) trouble(ctx context.Context) (end func() int) {
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	n := 0
	var database time.Time // when it was killed last
	ended.Go(func() {
		parts := []string{keeper, stage.Worker, stage.S3, stage.NATS, stage.Database}
		for ctx.Err() == nil {
			timer := time.NewTimer(rand.N(300 * time.Millisecond)) //nolint:gosec // chance, not secrecy; a quiet machine is through with a few jobs in seconds
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			hit := []string{parts[rand.N(len(parts))]} //nolint:gosec // chance, not secrecy
			if rand.N(8) == 0 {                        //nolint:gosec // likewise
				hit = parts
			}
			if time.Since(database) < databaseRests {
				hit = slices.DeleteFunc(slices.Clone(hit), func(name string) bool { return name == stage.Database })
			}
			for _, name := range hit {
				s.Kill(name)
				n++
				if name == stage.Database {
					database = time.Now()
				}
			}
			s.mend(context.WithoutCancel(ctx), hit)
		}
	})
	return func() int { cancel(); ended.Wait(); return n }
}

// mend starts what was killed, servers first, and waits for the database.
func (s *site) mend(ctx context.Context, hit []string) {
	for _, name := range []string{stage.Database, stage.NATS, stage.S3, stage.Worker, keeper} {
		if !slices.Contains(hit, name) {
			continue
		}
		if err := s.Start(ctx, name); err != nil {
			s.t.Errorf("start %s again: %v", name, err)
		}
		for name == stage.Database && s.db.Ping(ctx) != nil { // the process around it starts it again
			<-time.After(20 * time.Millisecond)
		}
	}
}

func (s *site) exec(ctx context.Context, sql string) {
	require.Eventually(s.t, func() bool { _, err := s.db.Exec(ctx, sql); return err == nil }, time.Minute, 50*time.Millisecond, sql)
}

func (s *site) count(ctx context.Context, sql string) (n int) {
	require.NoError(s.t, s.db.QueryRow(ctx, sql).Scan(&n))
	return n
}

// until waits until a count is zero.
func (s *site) until(ctx context.Context, sql string) {
	require.Eventually(s.t, func() bool {
		n := -1
		return s.db.QueryRow(ctx, sql).Scan(&n) == nil && n == 0
	}, 10*time.Minute, 100*time.Millisecond, sql)
}

type report struct {
	Objects, Bytes, Rows, Orphans, Dangling, Pending int
}

// clean waits until the scheduler has found what crashes left in the bucket, and
// requires that nothing else is wrong at any time.
func (s *site) clean(ctx context.Context) (r report) {
	require.Eventually(s.t, func() bool {
		code, out, stderr := s.run(ctx, "fsck", "--grace=0s", "--json")
		require.Contains(s.t, []int{0, 7}, code, stderr)
		all := bufio.NewScanner(bytes.NewReader([]byte(out)))
		var last []byte
		for all.Scan() {
			require.NotContains(s.t, all.Text(), `"fault":"dangling"`)
			last = append([]byte(nil), all.Bytes()...)
		}
		r = report{}
		require.NoError(s.t, json.Unmarshal(last, &r))
		return code == 0 && r.Pending == 0
	}, 3*time.Minute, 500*time.Millisecond)
	return r
}
