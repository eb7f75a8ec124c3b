package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

// submitted submits a job and, as the scheduler would, writes its row.
func (w *world) submitted(body string) job.ID {
	w.t.Helper()
	a := w.call("POST", "/v1/jobs", body)
	require.Equal(w.t, http.StatusAccepted, a.Status, "%s", a.Body)
	w.write(w.take(1)[0])
	return a.job(w.t).ID
}

func TestAPollIsHeldUntilTheVersionChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	path := "/v1/jobs/" + string(id)
	require.Equal(t, http.StatusNotModified, w.call("GET", path, "", "If-None-Match", `W/"1"`).Status)
	require.Equal(t, http.StatusNotModified, w.call("GET", path, "", "If-None-Match", `"x", "1"`).Status)
	require.Equal(t, http.StatusOK, w.call("GET", path, "", "If-None-Match", `W/"0"`).Status)
	require.Equal(t, http.StatusOK, w.call("GET", path+"?wait=60", "", "If-None-Match", `W/"0"`).Status, "it has changed already")

	start := time.Now()
	a := w.call("GET", path+"?wait=1", "", "If-None-Match", `W/"1"`)
	require.Equal(t, http.StatusNotModified, a.Status)
	require.Equal(t, `W/"1"`, a.Header.Get("ETag"))
	require.GreaterOrEqual(t, time.Since(start), time.Second)
	require.Equal(t, http.StatusOK, w.call("GET", path+"?wait=1", "").Status, "without a tag the time ends with the document")

	for name, tell := range map[string]func(){
		"a hint":    func() { w.bus.Hint(id, 0) },
		"the sweep": func() {},
	} {
		var all sync.WaitGroup
		tag := w.call("GET", path, "").Header.Get("ETag")
		answers := make([]answer, 20)
		for i := range answers {
			all.Go(func() { answers[i], _ = w.try(t.Context(), "GET", path+"?wait=60", "", "If-None-Match", tag) })
		}
		require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 20") }, time.Minute, 20*time.Millisecond)
		start := time.Now()
		w.exec(`update jobs set version = version + 1 where id = $1`, id)
		tell()
		all.Wait()
		require.Less(t, time.Since(start), 30*time.Second, name)
		for _, a := range answers {
			require.Equal(t, http.StatusOK, a.Status, name)
			require.NotEqual(t, tag, a.Header.Get("ETag"), name)
		}
	}
}

// counts reports whether a series has a value, both as they are served.
func (w *world) counts(line string) bool {
	w.t.Helper()
	for served := range strings.Lines(w.metrics()) {
		if strings.TrimSuffix(served, "\n") == line {
			return true
		}
	}
	return false
}

func (w *world) metrics() string {
	var b strings.Builder
	_ = w.registry.Write(&b)
	return b.String()
}

func TestBadWaitsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	path := "/v1/jobs/" + string(w.mintedFor(tenant))
	for _, q := range []string{"wait=61", "wait=-1", "wait=x", "wait=1&wait=2", "wiat=3", "wait=%zz", "wait=%00"} {
		a := w.call("GET", path+"?"+q, "")
		require.Equal(t, http.StatusBadRequest, a.Status, q)
		require.Equal(t, "/problems/bad-request", a.problem(t).Type)
	}
	require.Equal(t, http.StatusOK, w.call("GET", path+"?wait=0", "").Status)
}

func TestAHeldPollGoesAwayWithItsClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.try(ctx, "GET", "/v1/jobs/"+string(id)+"?wait=60", "")
		done <- err
	}()
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 1") }, time.Minute, 10*time.Millisecond)
	cancel()
	require.Error(t, <-done)
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 0") }, time.Minute, 10*time.Millisecond)
}

func TestACancelIsRefusedWhileItsJobCannotArrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.mintedFor(tenant)
	stalled, err := w.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = stalled.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = stalled.Exec(t.Context(), `select lock_arrivals(array[$1])`, id)
	require.NoError(t, err)
	a := w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.problem(t).Detail, "being stored")
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.NoError(t, stalled.Rollback(t.Context()))
	require.Equal(t, http.StatusOK, w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "").Status)
}

func TestCancelIsIdempotentWhateverTheStateOfTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)

	// In JOBS only: the wish is written down and shown.
	early := w.call("POST", "/v1/jobs", hello).job(t).ID
	for range 2 {
		a := w.call("POST", "/v1/jobs/"+string(early)+"/cancel", "")
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, job.StateCancelled, a.job(t).State)
	}
	a := w.call("GET", "/v1/jobs/"+string(early)+"?wait=30", "")
	require.Equal(t, job.StateCancelled, a.job(t).State, "a job that has ended is not waited for")
	require.Equal(t, `W/"0-cancelled"`, a.Header.Get("ETag"))

	// The row that the scheduler writes then is the job's; until it is shown, the wish is.
	w.write(w.take(1)[0])
	require.Eventually(t, func() bool {
		d := w.call("GET", "/v1/jobs/"+string(early), "").job(t)
		require.Equal(t, job.StateCancelled, d.State)
		return d.Version == 1
	}, time.Minute, 100*time.Millisecond)

	// With a row and work released.
	id := w.submitted(`{"input":{"text":"Hello."},"callback":{"url":"https://example.com/hook"}}`)
	w.plan(id, 3)
	testkit.SetSegment(t, w.db, id, 1, job.SegmentReleased, 1, "", "")
	bundle := bus.Bundle{
		JobID: id, Job: 1, Attempt: 1, Tenant: tenant, Pool: "espeak", Class: job.Bulk, Segments: []bus.Segment{{N: 1, Chapter: 1, Text: "x"}},
	}
	for _, err := range w.bus.PublishWork(t.Context(), []bus.Bundle{bundle}) {
		require.NoError(t, err)
	}
	heard := w.listen()
	a = w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "")
	require.Equal(t, job.StateCancelled, a.job(t).State)
	require.NotNil(t, a.job(t).FinishedAt)
	require.Equal(t, hinted{id, a.job(t).Version}, next(t, heard))
	pending, _, err := w.bus.WorkPending(t.Context(), "espeak", job.Bulk)
	require.NoError(t, err)
	require.Zero(t, pending, "released work is taken back")
	again := w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "")
	require.Equal(t, a.job(t).Version, again.job(t).Version)
	var deliveries int
	w.scan(`select count(*) from deliveries where event = 'job.cancelled'`, &deliveries)
	require.Equal(t, 1, deliveries)

	require.Equal(t, http.StatusNotFound, w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "", "Authorization", "Bearer "+w.other).Status)
	require.Equal(t, http.StatusNotFound, w.call("POST", "/v1/jobs/job_nothing/cancel", "").Status)
}

// hinted is a hint from the bus.
type hinted struct {
	id      job.ID
	version int64
}

// listen returns the hints that come from now on, until the test ends.
func (w *world) listen() <-chan hinted {
	w.t.Helper()
	heard := make(chan hinted, 1024)
	ctx, stop := context.WithCancel(w.t.Context())
	var listening sync.WaitGroup
	listening.Go(func() { _ = w.bus.Hints(ctx, func(h bus.Hinted) { heard <- hinted{h.ID, h.Version} }) })
	w.t.Cleanup(func() { stop(); listening.Wait() })
	const probe, last = "job_probe", 1 << 40
	require.Eventually(w.t, func() bool { w.bus.Hint(probe, 1); return len(heard) > 0 }, time.Minute, 20*time.Millisecond)
	w.bus.Hint(probe, last)
	for h := range heard {
		if h.version == last {
			break
		}
	}
	return heard
}

// next is the next hint.
func next(t *testing.T, heard <-chan hinted) (h hinted) {
	t.Helper()
	require.Eventually(t, func() bool {
		select {
		case h = <-heard:
			return true
		default:
			return false
		}
	}, 20*time.Second, time.Millisecond)
	return h
}

// plan gives a job one chapter of n segments.
func (w *world) plan(id job.ID, n int) {
	w.t.Helper()
	w.exec(`update jobs set state = 'running', started_at = now(), segments_total = $2, chapters_total = 1 where id = $1`, id, n)
	w.exec(`insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, plan_digest) values ($1, 1, 'One', 'pending', 1, $2, '')`, id, n)
	segments := make([]testkit.Segment, n)
	for i := range segments {
		segments[i] = testkit.Segment{Text: fmt.Sprintf("Segment %d", i+1), Seconds: 1.5}
	}
	testkit.PutSegments(w.t, w.db, id, segments)
}

func TestSegmentsArePagedInReadingOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	w.plan(id, 45)
	for n := 10; n <= 45; n += 10 {
		testkit.SetSegment(t, w.db, id, n, job.SegmentFailed, 3, "engine", "no sound")
	}
	c := w.client(w.key)
	var got []int
	cursor := ""
	for pages := 0; ; pages++ {
		page, err := c.Segments(t.Context(), id, client.SegmentOptions{Cursor: cursor})
		require.NoError(t, err)
		for _, s := range page.Items {
			got = append(got, s.N)
			require.Equal(t, fmt.Sprintf("Segment %d", s.N), s.Text)
		}
		if cursor = page.Next; cursor == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Len(t, got, 45)
	require.IsIncreasing(t, got)

	a := w.call("GET", "/v1/jobs/"+string(id)+"/segments?state=failed,done&chapter=1&limit=2", "")
	require.Equal(t, http.StatusOK, a.Status)
	var page client.Page[client.Segment]
	require.NoError(t, json.Unmarshal(a.Body, &page))
	require.Len(t, page.Items, 2)
	require.Equal(t, 20, page.Items[1].N)
	require.Equal(t, "no sound", page.Items[1].Error.Detail)
	require.Equal(t, &client.Source{Document: "a.xhtml", Start: 200, End: 209}, page.Items[1].Source)
	require.NotEmpty(t, page.Next)
	for _, q := range []string{"limit=0", "limit=101", "cursor=!", "state=lost", "chapter=0", "chapter=x"} {
		require.Equal(t, http.StatusBadRequest, w.call("GET", "/v1/jobs/"+string(id)+"/segments?"+q, "").Status, q)
	}
}

func TestJobsAreListedAndFiltered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var ids []job.ID
	for n := range 5 {
		class := "bulk"
		if n == 2 {
			class = "interactive"
		}
		a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"text":"Job %d."},"class":%q,"labels":{"n":"%d","who":"me"}}`, n, class, n%2))
		ids = append(ids, a.job(t).ID)
	}
	for _, j := range w.take(5) {
		w.write(j)
	}
	list := func(q string) (got []job.ID) {
		a := w.call("GET", "/v1/jobs"+q, "")
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		var page client.Page[struct{ ID job.ID }]
		require.NoError(t, json.Unmarshal(a.Body, &page))
		for _, d := range page.Items {
			got = append(got, d.ID)
		}
		return got
	}
	require.ElementsMatch(t, ids, list(""))
	require.Equal(t, []job.ID{ids[2]}, list("?class=interactive"))
	require.ElementsMatch(t, []job.ID{ids[1], ids[3]}, list("?label=n:1&label=who:me"))
	require.Empty(t, list("?state=succeeded,failed"))
	require.Len(t, list("?state=accepted&created_after=2020-01-01T00:00:00Z&created_before=2100-01-01T00:00:00Z"), 5)
	c := w.client(w.key)
	page, err := c.Jobs(t.Context(), client.ListOptions{Limit: 3, States: []job.State{job.StateAccepted}, Labels: map[string]string{"who": "me"}})
	require.NoError(t, err)
	require.Len(t, page.Items, 3)
	rest, err := c.Jobs(t.Context(), client.ListOptions{Limit: 3, Cursor: page.Next})
	require.NoError(t, err)
	require.Len(t, rest.Items, 2)
	require.Empty(t, rest.Next)
	for _, q := range []string{"state=lost", "class=x", "label=x", "label=:x", "created_after=now", "limit=a", "cursor=abc", "colour=red", "state=%ff"} {
		require.Equal(t, http.StatusBadRequest, w.call("GET", "/v1/jobs?"+q, "").Status, q)
	}
}

func TestAnArtifactIsALinkThatWorksWithoutAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	key := "jobs/default/" + string(id) + "/1/chapter-001.wav"
	_, err := w.bucket.Put(t.Context(), key, strings.NewReader("RIFF-bytes"), 10, blob.PutOptions{ContentType: "audio/wav"})
	require.NoError(t, err)
	w.exec(`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds, loudness) values ($1, 'chapter-001.wav', 'audio/wav', $2, 10, sha256('RIFF-bytes'), 1.5, $3)`,
		id, key, `{"target": "acx", "pass": false, "figures": [{"name": "rms", "unit": "dB", "value": -17.5, "min": -23, "max": -18, "pass": false}]}`)

	a := w.call("GET", "/v1/jobs/"+string(id)+"/artifacts/chapter-001.wav", "")
	require.Equal(t, http.StatusTemporaryRedirect, a.Status, "%s", a.Body)
	require.NotContains(t, a.Header.Get("Location"), w.key)
	r, size, err := w.client(w.key).Artifact(t.Context(), id, "chapter-001.wav")
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	body, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "RIFF-bytes", string(body))
	require.Equal(t, int64(10), size)

	file := w.call("GET", "/v1/jobs/"+string(id), "").job(t).Artifacts[0]
	require.Equal(t, "chapter-001.wav", file.Name)
	require.Equal(t, job.LoudnessACX, file.Loudness.Target)
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/jobs/"+string(id)+"/artifacts/nothing.wav", "").Status)
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/jobs/"+string(id)+"/artifacts/chapter-001.wav", "", "Authorization", "Bearer "+w.other).Status)
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/jobs/"+string(id)+"/artifacts/a%2f..%2fb", "").Status)
}

func TestTheClientWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	d, err := c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "Hello."}}, client.SubmitOptions{})
	require.NoError(t, err)
	seen := make(chan int64, 100)
	type end struct {
		state job.State
		err   error
	}
	done := make(chan end, 1)
	go func() {
		d, err := c.Wait(t.Context(), d.ID, func(d *jobdoc.Document) { seen <- d.Version })
		if err != nil {
			done <- end{err: err}
			return
		}
		done <- end{state: d.State}
	}()
	require.Equal(t, int64(0), <-seen)
	w.write(w.take(1)[0])
	require.Equal(t, int64(1), <-seen)
	w.exec(`update jobs set state = 'failed', error_kind = 'engine', error_detail = 'The voice is gone.', version = 2, finished_at = now() where id = $1`, d.ID)
	require.Equal(t, int64(2), <-seen)
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, job.StateFailed, got.state)
}

// Not parallel: it counts the goroutines of the process.
func TestTwoThousandWaitsEndWithOneChangeAndLeaveNothing(t *testing.T) {
	const conns, each = 100, 20
	w := newWorld(t, nil)
	id := w.submitted(hello)
	watchers := func(n int) {
		require.Eventually(t, func() bool {
			return strings.Contains(w.metrics(), "voicemill_gateway_watchers "+strconv.Itoa(n)+"\n")
		}, time.Minute, 10*time.Millisecond)
	}
	wait := "GET /v1/jobs/" + string(id) + "?wait=60 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + w.key + "\r\nIf-None-Match: W/\"1\"\r\n\r\n"
	first := w.raw(t)
	_, err := io.WriteString(first, wait)
	require.NoError(t, err)
	watchers(1)
	before := runtime.NumGoroutine()
	for range conns {
		c := w.raw(t)
		_, err := io.WriteString(c, strings.Repeat(wait, each))
		require.NoError(t, err)
	}
	watchers(1 + conns*each)
	w.bump(id, job.StateQueued)
	watchers(0)
	const most = 50
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+most }, time.Minute, 10*time.Millisecond,
		"%d goroutines before", before)
}

func TestAJobThatTheSchedulerHasNotSeenIsNotSaidToBeAnotherThanItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.call("POST", "/v1/jobs", `{"input":{"text":"Hello."},"class":"interactive","labels":{"book":"x"}}`).job(t).ID
	a := w.call("GET", "/v1/jobs/"+string(id), "")
	require.NotContains(t, string(a.Body), "class")
	require.NotContains(t, string(a.Body), "labels")
	got, err := w.frames(w.key).Job(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, got.Class)
	w.write(w.take(1)[0])
	require.Eventually(t, func() bool {
		d := w.call("GET", "/v1/jobs/"+string(id), "").job(t)
		return d.Class == job.Interactive && d.Labels["book"] == "x"
	}, time.Minute, 50*time.Millisecond)
}
