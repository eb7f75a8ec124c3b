package callback

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// full reports whether the sizes are those of `make callbacks-load`.
func full() bool { return os.Getenv("VOICEMILL_CALLBACKS_FULL") != "" }

// taken is an event that a receiver took.
type taken struct {
	id       string
	job      job.ID
	sequence int
	at       time.Time
}

// ledger is what all receivers of a test took, in the order they did.
type ledger struct {
	mu   sync.Mutex
	list []taken
}

func (l *ledger) note(t *testing.T, q *http.Request) {
	at := time.Now()
	raw, err := io.ReadAll(q.Body)
	if err != nil {
		return // the sender gave up
	}
	var e Event
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Errorf("body of a callback: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, taken{id: q.Header.Get("webhook-id"), job: e.Data.ID, sequence: e.Sequence, at: at})
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// byJob returns what was taken of each job, and fails if it was not each event once, in order.
func (l *ledger) byJob(t *testing.T) map[job.ID][]taken {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	jobs := map[job.ID][]taken{}
	for _, e := range l.list {
		jobs[e.job] = append(jobs[e.job], e)
		require.Len(t, jobs[e.job], e.sequence, "the place of event %d of job %s", e.sequence, e.job)
	}
	return jobs
}

// drip begins an answer and never ends it.
func drip(w http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body) // or the end of the connection is not seen
	for q.Context().Err() == nil {
		_, _ = io.WriteString(w, "x") // the sender may be gone
		_ = http.NewResponseController(w).Flush()
		select {
		case <-q.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

// fire adds events of jobs to the table, one of each, as the n-th chapter of each.
func (b *bench) fire(t *testing.T, n int, jobs []job.ID, urls []string) {
	t.Helper()
	ids := make([]string, len(jobs))
	for i := range ids {
		ids[i] = fmt.Sprintf("dlv_%s_%d", jobs[i], n)
	}
	b.Exec(t, `with held as (select id from jobs where id = any ($2) order by id for no key update)
insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload, created_at)
select i, $4, j, $5, $6, u, '', clock_timestamp() from unnest($1::text[], $2::text[], $3::text[]) x (i, j, u) join held on held.id = j`, ids, jobs, urls, storetest.Tenant, job.EventChapterReady, n)
	b.d.Hint()
}

// One in ten hosts is dead, half of these silent and half dripping, all of one
// tenant. The others get their events, in order, and soon.
func TestDeadHostsAmongManyDoNotKeepTheOthersWaiting(t *testing.T) {
	t.Parallel()
	hosts, rounds := 20, 20
	if full() {
		hosts, rounds = 200, 600
	}
	const perRound, every = 10, 100 * time.Millisecond // a hundred events a second
	b := newBench(t, func(c *Config) { c.Tick, c.Grace = DefaultConfig().Tick, 50*time.Millisecond })
	b.d.waits = schedule()
	b.outcomes = nil
	b.d.deps.Observe, b.d.deps.Changed = func(string, string) {}, func(job.ID, int64) {}
	var got ledger
	jobs, urls, alive := make([]job.ID, hosts), make([]string, hosts), map[job.ID]int{}
	for i := range hosts {
		answer := func(w http.ResponseWriter, q *http.Request) { got.note(t, q) }
		switch i % 20 {
		case 4:
			answer = func(w http.ResponseWriter, q *http.Request) {
				_, _ = io.Copy(io.Discard, q.Body)
				hang(w, q)
			}
		case 14:
			answer = drip
		}
		r := httptest.NewServer(http.HandlerFunc(answer))
		t.Cleanup(r.Close)
		jobs[i], urls[i] = b.Queue(t, storetest.Tenant, job.Spec{}, 1), r.URL
		if i%10 != 4 {
			alive[jobs[i]] = 0
		}
	}
	b.run(t)
	tick := time.NewTicker(every)
	defer tick.Stop()
	want := 0
	for round := range rounds {
		<-tick.C
		var some []job.ID
		var to []string
		for _, i := range rand.Perm(hosts)[:perRound] {
			some, to = append(some, jobs[i]), append(to, urls[i])
			if _, ok := alive[jobs[i]]; ok {
				want++
				alive[jobs[i]]++
			}
		}
		b.fire(t, round+1, some, to)
	}
	require.Eventually(t, func() bool { return got.len() >= want }, 2*time.Minute, 10*time.Millisecond)
	taken := got.byJob(t)
	for id, n := range alive {
		require.Len(t, taken[id], n)
	}
	took := b.latencies(t, &got)
	t.Logf("%d hosts, a tenth of them dead: %d events for the others; from event to receiver p50 %s, p95 %s, at most %s",
		hosts, want, took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
	if full() {
		require.LessOrEqual(t, took[len(took)*95/100], 2*time.Second)
	}
}

// latencies returns how long events took to their receivers, sorted.
func (b *bench) latencies(t *testing.T, l *ledger) []time.Duration {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, err := b.DB.Query(t.Context(), `select id, created_at from deliveries`)
	require.NoError(t, err)
	defer rows.Close()
	created := map[string]time.Time{}
	for rows.Next() {
		var id string
		var at time.Time
		require.NoError(t, rows.Scan(&id, &at))
		created[id] = at
	}
	require.NoError(t, rows.Err())
	list := make([]time.Duration, 0, len(l.list))
	for _, e := range l.list {
		list = append(list, e.at.Sub(created[e.id]).Round(time.Millisecond))
	}
	slices.Sort(list)
	return list
}

// Receivers refuse one attempt in ten. What they take of a job is in order, each event once.
func TestOrderHoldsWhileReceiversFailAtRandom(t *testing.T) {
	t.Parallel()
	jobs, events := 40, 10
	if full() {
		jobs, events = 500, 20
	}
	b := newBench(t, nil)
	b.d.waits = slices.Repeat([]time.Duration{20 * time.Millisecond, 60 * time.Millisecond}, 10)
	b.d.deps.Observe, b.d.deps.Changed = func(string, string) {}, func(job.ID, int64) {}
	var got ledger
	var urls []string
	for range 8 {
		r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if rand.N(10) == 0 { //nolint:gosec // not a secret
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			got.note(t, q)
		}))
		t.Cleanup(r.Close)
		urls = append(urls, r.URL)
	}
	ids, to := make([]job.ID, jobs), make([]string, jobs)
	for i := range ids {
		ids[i], to[i] = b.Queue(t, storetest.Tenant, job.Spec{}, 1), urls[i%len(urls)]
	}
	b.run(t)
	for i := range events {
		b.fire(t, i+1, ids, to)
	}
	require.Eventually(t, func() bool { return got.len() >= jobs*events }, 5*time.Minute, 10*time.Millisecond)
	for id, list := range got.byJob(t) {
		require.Len(t, list, events, "job %s", id)
	}
	failed := b.Count(t, `select count(*) from delivery_attempts where status = 500`)
	require.Positive(t, failed)
	t.Logf("%d events of %d jobs, %d attempts refused: each job's in order", jobs*events, jobs, failed)
}
