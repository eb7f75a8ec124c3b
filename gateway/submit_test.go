package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

const hello = `{"input":{"text":"Hello, world."}}`

func TestASubmittedJobIsInJobsWhenTheClientHearsOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	before := time.Now().Add(-time.Second)
	a := w.call("POST", "/v1/jobs", `{"input":{"text":"Hello <world> & \"all\"."},"language":"en-US","speed":1.25,"seed":7,"class":"interactive","labels":{"book":"x"},
		"callback":{"url":"https://example.com/hook","events":["job.succeeded"]},"output":{"pauses":{"chapter":2}}}`,
		"X-Request-Id", "my-request.1", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	d := a.job(t)
	require.Equal(t, job.StateAccepted, d.State)
	require.Equal(t, job.Interactive, d.Class)
	require.Equal(t, map[string]string{"book": "x"}, d.Labels)
	require.Equal(t, "/v1/jobs/"+string(d.ID), a.Header.Get("Location"))
	require.Equal(t, `W/"0"`, a.Header.Get("ETag"))
	require.Equal(t, "my-request.1", a.Header.Get("X-Request-Id"))
	require.Equal(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", a.Header.Get("Traceparent"))
	require.WithinRange(t, d.CreatedAt.Time, before, time.Now())

	got := w.take(1)[0]
	require.Equal(t, d.ID, got.ID)
	require.Equal(t, tenant, got.Tenant)
	require.Equal(t, `Hello <world> & "all".`, got.Spec.Input.Text)
	require.Equal(t, "narrator-en", got.Spec.Voice, "the default voice of the language")
	require.Equal(t, &job.Pauses{Sentence: 0.35, Paragraph: 0.7, Chapter: 2}, got.Spec.Output.Pauses)
	require.Equal(t, "my-request.1", got.RequestID)
	require.NotEmpty(t, got.Traceparent)
	require.True(t, d.CreatedAt.Equal(got.AcceptedAt))
}

func TestAnAcceptedJobIsNever404(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	d := w.call("POST", "/v1/jobs", hello).job(t)
	path := "/v1/jobs/" + string(d.ID)

	a := w.call("GET", path, "")
	require.Equal(t, http.StatusOK, a.Status)
	require.Equal(t, job.StateAccepted, a.job(t).State)
	require.Zero(t, a.job(t).Version)

	require.Equal(t, http.StatusNotFound, w.call("GET", path, "", "Authorization", "Bearer "+w.other).Status, "another tenant's")
	forged := []byte(path)
	for i := len(forged) - 10; i < len(forged)-1; i++ { // in the tag; the last letter carries two bits only
		forged[i] ^= '2' ^ '3'
		require.Equal(t, http.StatusNotFound, w.call("GET", string(forged), "").Status, "forged")
	}
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/jobs/job_x", "").Status)
	require.Equal(t, http.StatusOK, w.call("GET", path+"/segments", "").Status)
	require.Equal(t, http.StatusNotFound, w.call("GET", path+"/artifacts/chapter-001.wav", "").Status)

	w.write(w.take(1)[0])
	w.bus.Hint(d.ID, 1)
	require.Eventually(t, func() bool {
		a = w.call("GET", path, "")
		return a.job(t).Version == 1
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, `W/"1"`, a.Header.Get("ETag"))
	require.Equal(t, d.CreatedAt, a.job(t).CreatedAt)
}

func TestEveryBadSubmitIsAnsweredWithItsFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	long := strings.Repeat("word ", 60_000)
	labels := make([]string, 65)
	for i := range labels {
		labels[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	for name, c := range map[string]struct {
		body     string
		headers  []string
		status   int
		slug     string
		pointers []string
		detail   string
	}{
		"not JSON":                      {body: `hello`, status: 400, slug: "not-json", detail: "byte 0"},
		"nothing":                       {body: ``, headers: []string{"Content-Type", "application/json"}, status: 400, slug: "not-json"},
		"cut off":                       {body: `{"input":`, status: 400, slug: "not-json", detail: "byte 9"},
		"more than one value":           {body: hello + `{}`, status: 400, slug: "not-json", detail: "more after the value"},
		"too deep":                      {body: strings.Repeat(`{"input":`, 50), status: 400, slug: "not-json", detail: "deeper"},
		"another media type":            {body: hello, headers: []string{"Content-Type", "text/plain"}, status: 415, slug: "unsupported-media-type"},
		"no media type":                 {body: hello, headers: []string{"Content-Type", ""}, status: 415, slug: "unsupported-media-type"},
		"another charset":               {body: hello, headers: []string{"Content-Type", "application/json; charset=latin1"}, status: 415, slug: "unsupported-media-type"},
		"compressed in another way":     {body: hello, headers: []string{"Content-Encoding", "br"}, status: 415, slug: "unsupported-media-type"},
		"a list":                        {body: `[]`, status: 422, slug: "invalid-request", pointers: []string{""}},
		"an unknown field":              {body: `{"input":{"text":"Hello."},"colour":"red"}`, status: 422, slug: "invalid-request", pointers: []string{"/colour"}},
		"a field in other case":         {body: `{"input":{"Text":"Hello."}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/Text"}, detail: `"text"`},
		"a wrong type":                  {body: `{"input":{"text":5}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/text"}},
		"given twice":                   {body: `{"input":{"text":"a"},"voice":"narrator-en","voice":"anna-de"}`, status: 422, slug: "invalid-request", pointers: []string{"/voice"}},
		"no input":                      {body: `{}`, status: 422, slug: "invalid-request", pointers: []string{"/input"}},
		"empty text":                    {body: `{"input":{"text":""}}`, status: 422, slug: "invalid-request", pointers: []string{"/input"}},
		"nothing to speak":              {body: `{"input":{"text":" …!? "}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/text"}},
		"two inputs":                    {body: `{"input":{"text":"a","upload":"upl_1"}}`, status: 422, slug: "invalid-request", pointers: []string{"/input", "/input/upload"}},
		"text over the limit":           {body: `{"input":{"text":"` + long + `"}}`, status: 413, slug: "text-too-large", pointers: []string{"/input/text"}},
		"too many labels":               {body: `{"input":{"text":"a"},"labels":{` + strings.Join(labels, ",") + `}}`, status: 413, slug: "too-many-labels", pointers: []string{"/labels"}},
		"an unknown voice":              {body: `{"input":{"text":"a"},"voice":"nobody"}`, status: 422, slug: "invalid-request", pointers: []string{"/voice"}, detail: "anna-de, narrator-en"},
		"an unknown segment voice":      {body: `{"input":{"segments":[{"text":"a"},{"text":"b","voice":"nobody"}]}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/segments/1/voice"}},
		"an unknown format":             {body: `{"input":{"text":"a"},"output":{"formats":["ogg"]}}`, status: 422, slug: "invalid-request", pointers: []string{"/output/formats/0"}},
		"an unknown language":           {body: `{"input":{"text":"a"},"language":"fr"}`, status: 422, slug: "invalid-request", pointers: []string{"/language"}},
		"no language tag":               {body: `{"input":{"text":"a"},"language":"in english"}`, status: 422, slug: "invalid-request", pointers: []string{"/language"}},
		"a pause too long":              {body: `{"input":{"text":"a"},"output":{"pauses":{"chapter":60}}}`, status: 422, slug: "invalid-request", pointers: []string{"/output/pauses/chapter"}},
		"an EPUB inline":                {body: `{"input":{"text":"a","media_type":"application/epub+zip"}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/media_type"}},
		"an upload of nobody":           {body: `{"input":{"upload":"upl_doesnotexist"}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/upload"}, detail: "not known"},
		"no upload id":                  {body: `{"input":{"upload":"../../etc"}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/upload"}},
		"callback to loopback":          {body: `{"input":{"text":"a"},"callback":{"url":"http://127.0.0.1/x"}}`, status: 422, slug: "invalid-request", pointers: []string{"/callback/url"}, detail: "loopback"},
		"callback to a private network": {body: `{"input":{"text":"a"},"callback":{"url":"http://10.1.2.3/x"}}`, status: 422, slug: "invalid-request", pointers: []string{"/callback/url"}},
		"callback to metadata":          {body: `{"input":{"text":"a"},"callback":{"url":"http://169.254.169.254/latest"}}`, status: 422, slug: "invalid-request", pointers: []string{"/callback/url"}},
		"callback to another port":      {body: `{"input":{"text":"a"},"callback":{"url":"https://example.com:9/x"}}`, status: 422, slug: "invalid-request", pointers: []string{"/callback/url"}, detail: "port 9"},
		"callback by ftp":               {body: `{"input":{"text":"a"},"callback":{"url":"ftp://example.com/"}}`, status: 422, slug: "invalid-request", pointers: []string{"/callback/url"}},
		"instructions for nobody":       {body: `{"input":{"text":"a"},"voice":"narrator-en","instructions":"warm"}`, status: 422, slug: "invalid-request", pointers: []string{"/instructions"}, detail: `voice "narrator-en" takes no instructions`},
		"instructions without end":      {body: `{"input":{"segments":[{"text":"a","instructions":"` + strings.Repeat("ü", 1001) + `"}]}}`, status: 422, slug: "invalid-request", pointers: []string{"/input/segments/0/instructions"}, detail: "have 1001 characters; at most 1000"},
		"a bad idempotency key":         {body: hello, headers: []string{"Idempotency-Key", strings.Repeat("x", 256)}, status: 400, slug: "bad-request"},
		"everything at once":            {body: `{"input":{"text":"…"},"colour":1,"speed":9,"voice":"nobody","deadline":"soon","labels":{"":"x"}}`, status: 422, slug: "invalid-request", pointers: []string{"/colour", "/deadline", "/input/text", "/labels/", "/speed", "/voice"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.call("POST", "/v1/jobs", c.body, c.headers...)
			require.Equal(t, c.status, a.Status, "%s", a.Body)
			p := a.problem(t)
			require.Equal(t, "/problems/"+c.slug, p.Type)
			var pointers []string
			for _, f := range p.Errors {
				pointers = append(pointers, f.Pointer)
			}
			require.Equal(t, c.pointers, pointers, "%s", a.Body)
			require.Contains(t, string(a.Body), strings.ReplaceAll(c.detail, `"`, `\"`))
			require.Less(t, len(a.Body), 4096)
		})
	}
	t.Cleanup(func() {
		var keys int
		require.NoError(t, w.db.QueryRow(context.Background(), `select count(*) from idempotency_keys`).Scan(&keys))
		require.Zero(t, keys, "a refused request leaves nothing behind")
	})
}

func TestManyEqualSubmitsWithOneKeyAreOneJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const clients = 64
	ids := make([]job.ID, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			a, err := w.try(t.Context(), "POST", "/v1/jobs", hello, "Idempotency-Key", "the-same")
			if err == nil && a.Status == http.StatusAccepted {
				ids[i] = a.job(t).ID
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.NotEmpty(t, ids[0])
	a := w.call("POST", "/v1/jobs", `{"input":{"text":"Something else."}}`, "Idempotency-Key", "the-same")
	require.Equal(t, http.StatusConflict, a.Status)
	require.Equal(t, "/problems/idempotency-key-reused", a.problem(t).Type)
	require.Equal(t, http.StatusConflict, w.call("POST", "/v1/uploads", `{"media_type":"text/plain"}`, "Idempotency-Key", "the-same").Status, "another call")

	// Once the scheduler has it, it is not sent again.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := map[job.ID]int{}
	require.NoError(t, w.bus.Envelopes(ctx, func(_ context.Context, e bus.Envelope) error {
		for _, j := range e.Jobs {
			seen[j.ID]++
			w.write(j)
		}
		cancel()
		return nil
	}))
	require.Len(t, seen, 1)
	again := w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "the-same")
	require.Equal(t, http.StatusAccepted, again.Status)
	require.Equal(t, ids[0], again.job(t).ID)
}

func TestNothingIsAcceptedWithoutAnAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newWorld(t, losesItsBus)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	w.take(1)
	w.nats.Stop()
	var accepted []job.ID
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 16 {
		all.Go(func() {
			a, err := w.try(t.Context(), "POST", "/v1/jobs", hello, "Idempotency-Key", "after-the-storm")
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
				t.Errorf("got %v %d %s", err, a.Status, a.Body)
			}
			if a.Status == http.StatusAccepted {
				accepted = append(accepted, a.job(t).ID)
			}
		})
	}
	all.Wait()
	require.Empty(t, accepted)
	require.Contains(t, []string{"/problems/unavailable", "/problems/outcome-unknown"}, w.call("POST", "/v1/jobs", hello).problem(t).Type)

	// The bus comes back; the same key leads to one job.
	again := testkit.NATSServer(t, w.natsDir)
	w.nats = again
	w.bus = testkit.Bus(t, again, bus.Config{})
	require.NoError(t, w.stop())
	w.start()
	a := w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "after-the-storm")
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	got := w.take(1)
	require.Equal(t, a.job(t).ID, got[0].ID)
}

func TestPreferWaitAnswersWhenTheJobEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.call("POST", "/v1/jobs", hello, "Prefer", "respond-async, wait=1")
	require.Equal(t, http.StatusAccepted, a.Status, "it had not ended after a second")
	require.Equal(t, "wait=1", a.Header.Get("Preference-Applied"))
	w.take(1)

	var all sync.WaitGroup
	all.Go(func() {
		j := w.take(1)[0]
		w.write(j)
		w.exec(`update jobs set state = 'cancelled', version = 2, finished_at = now() where id = $1`, j.ID)
		w.bus.Hint(j.ID, 2)
	})
	start := time.Now()
	a = w.call("POST", "/v1/jobs", hello, "Prefer", "wait=60")
	all.Wait()
	require.Equal(t, http.StatusOK, a.Status)
	require.Equal(t, job.StateCancelled, a.job(t).State)
	require.Less(t, time.Since(start), 30*time.Second)
}

func TestAWaitingSubmitIsAnsweredWhenTheServerStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Grace = time.Minute })
	got := make(chan answer, 1)
	go func() {
		a, _ := w.try(context.WithoutCancel(t.Context()), "POST", "/v1/jobs", hello, "Prefer", "wait=60")
		got <- a
	}()
	w.take(1)
	start := time.Now()
	require.NoError(t, w.stop())
	require.Less(t, time.Since(start), 30*time.Second)
	require.Equal(t, http.StatusAccepted, (<-got).Status)
}

func TestFaultsAreToldToFiftyAndTheRestIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const segments = 80_000
	body := `{"input":{"segments":[` + strings.Repeat(`{"text":""},`, segments-1) + `{"text":""}]}}`
	require.Less(t, len(body), 1<<20)
	a := w.call("POST", "/v1/jobs", body)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Less(t, len(a.Body), 16<<10)
	p := a.problem(t)
	require.Len(t, p.Errors, 50)
	require.Equal(t, segments-50, p.MoreErrors)
	require.Contains(t, p.Detail, "80000 faults")

	c := w.raw(t)
	empty := make([]*voicemillv1.Spec_Segment, 16_000) // 32 KB
	for i := range empty {
		empty[i] = &voicemillv1.Spec_Segment{}
	}
	_, err := c.Write(framed(t, helloFrame(w.key, 0), &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{
		Spec: &voicemillv1.Spec{Segments: empty},
	}}}, &voicemillv1.Frame{Stream: 2, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: "x"}}}))
	require.NoError(t, err)
	require.NotNil(t, c.hear().GetHello())
	answers := map[uint32]*voicemillv1.Problem{}
	for range 2 {
		f := c.hear()
		answers[f.GetStream()] = f.GetProblem()
	}
	require.Len(t, answers[1].GetErrors(), 50)
	require.Equal(t, uint32(len(empty)-50), answers[1].GetMoreErrors())
	require.Equal(t, uint32(http.StatusNotFound), answers[2].GetStatus(), "the connection goes on")
}

func TestADeadlineThatIsPastIsRefusedUnlessTheRequestIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	past := `{"input":{"text":"Hello."},"deadline":"2020-01-01T00:00:00Z"}`
	for _, headers := range [][]string{nil, {"Idempotency-Key", "fresh"}} {
		a := w.call("POST", "/v1/jobs", past, headers...)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s", a.Body)
		require.Equal(t, "/deadline", a.problem(t).Errors[0].Pointer)
	}
	require.Equal(t, http.StatusUnprocessableEntity, w.batch(past).lines(t)[0].Status)

	soon := `{"input":{"text":"Hello."},"deadline":"` + time.Now().Add(5*time.Second).UTC().Format(time.RFC3339Nano) + `"}`
	id := w.call("POST", "/v1/jobs", soon, "Idempotency-Key", "k").job(t).ID
	require.Eventually(t, func() bool { return w.call("POST", "/v1/jobs", soon).Status == http.StatusUnprocessableEntity }, time.Minute, 50*time.Millisecond)
	require.Equal(t, id, w.call("POST", "/v1/jobs", soon, "Idempotency-Key", "k").job(t).ID)
}
