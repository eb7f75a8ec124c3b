package clients_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

// reply is what a page hears over WebSocket.
type reply struct {
	Stream   uint32
	Hello    *json.RawMessage
	Accepted *struct{ Job jobdoc.Document }
	Job      *jobdoc.Document
	Event    *jobdoc.Event
	Problem  *json.RawMessage
}

// conversation is a WebSocket from its opening to its end.
type conversation struct {
	Protocol string
	Code     int
	Clean    bool
	Said     []json.RawMessage
}

// browser is a tab of Chromium with the page of testdata in it.
type browser struct {
	t        *testing.T
	tab      context.Context //nolint:containedctx // is what chromedp's calls take
	solo     *stage.Solo
	contract *apitest.Contract
}

// pages serves testdata from an origin of its own.
func pages(t *testing.T) (origin string) {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir("testdata")))
	t.Cleanup(s.Close)
	return s.URL
}

// open opens a page of an origin in a new Chromium.
func open(t *testing.T, solo *stage.Solo, origin string) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	contract, err := apitest.Load(ctx)
	require.NoError(t, err)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(requireProgram(t, "chromium")), chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(testLimit))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	alloc, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(closeTab)
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate(origin+"/page.html")))
	return &browser{t: t, tab: tab, solo: solo, contract: contract}
}

// call calls a function of the page with the server's address and args.
func call[T any](b *browser, function string, args ...string) (T, error) {
	expression := function + "(" + strconv.Quote(b.solo.URL())
	for _, a := range args {
		quoted, err := json.Marshal(a)
		require.NoError(b.t, err)
		expression += ", " + string(quoted)
	}
	return chromedp.Run(b.tab, chromedp.Evaluate[T](expression+")", chromedp.EvalAwaitPromise))
}

// heard holds what the server said against the contract.
func (b *browser) heard(c conversation) []reply {
	b.t.Helper()
	require.Equal(b.t, "voicemill.v1.json", c.Protocol)
	require.True(b.t, c.Clean)
	all := make([]reply, len(c.Said))
	for i, raw := range c.Said {
		require.NoError(b.t, b.contract.Message("FrameReply", raw))
		require.NoError(b.t, json.Unmarshal(raw, &all[i]))
	}
	require.NotEmpty(b.t, all)
	require.NotNil(b.t, all[0].Hello)
	return all
}

// submitted is what a page may read of the answer to a submit.
type submitted struct {
	Status                               int
	ID, Location, ETag, RequestID, Limit string
}

func (b *browser) submit(who string) string {
	b.t.Helper()
	got, err := call[submitted](b, "submit", b.solo.Key(), story(who))
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusAccepted, got.Status)
	require.Equal(b.t, "/v1/jobs/"+got.ID, got.Location)
	require.NotEmpty(b.t, got.ETag)
	require.NotEmpty(b.t, got.RequestID)
	require.NotEmpty(b.t, got.Limit)
	return got.ID
}

func pageTests(solo *stage.Solo, origin string) map[string]func(*testing.T) {
	tests := map[string]func(*testing.T){}
	for name, test := range map[string]func(*browser){
		"watches a job over WebSocket":       pageLive,
		"makes many calls over WebSocket":    pageConnect,
		"watches a job by an EventSource":    pageEvents,
		"reads why it was refused":           pageRefused,
		"of another origin may read nothing": pageStranger,
	} {
		tests[name] = func(t *testing.T) { test(open(t, solo, origin)) }
	}
	return tests
}

func pageLive(b *browser) {
	id := b.submit("a page with a WebSocket")
	c, err := call[conversation](b, "live", b.solo.Key(), id)
	require.NoError(b.t, err)
	all := b.heard(c)
	require.Equal(b.t, 1000, c.Code, "the job has ended")
	last := all[len(all)-1].Event
	require.NotNil(b.t, last)
	require.Equal(b.t, job.StateSucceeded, last.State)
	for _, r := range all[1:] {
		require.Equal(b.t, uint32(1), r.Stream)
	}
}

func pageConnect(b *browser) {
	c, err := call[conversation](b, "connect", b.solo.Key())
	require.NoError(b.t, err)
	all := b.heard(c)
	require.Equal(b.t, 1000, c.Code)
	var id string
	for _, r := range all[1:] {
		require.Nil(b.t, r.Problem)
		if r.Accepted != nil {
			id = string(r.Accepted.Job.ID)
		}
	}
	d, err := caller.New(b.t, b.solo).Await(b.tab, id)
	require.NoError(b.t, err)
	require.Equal(b.t, job.StateCancelled, d.State)
}

func pageEvents(b *browser) {
	id := b.submit("a page with an EventSource")
	all, err := call[[]struct {
		ID    string
		Event json.RawMessage
	}](b, "events", b.solo.Key(), id)
	require.NoError(b.t, err)
	require.NotEmpty(b.t, all)
	var last jobdoc.Event
	for i, e := range all {
		require.NoError(b.t, b.contract.Message("Event", e.Event))
		before := last.Version
		require.NoError(b.t, json.Unmarshal(e.Event, &last))
		require.Equal(b.t, strconv.FormatInt(last.Version, 10), e.ID)
		require.True(b.t, i == 0 || last.Version > before, "version %d came after %d", last.Version, before)
	}
	require.Equal(b.t, job.StateSucceeded, last.State)
}

func pageRefused(b *browser) {
	got, err := call[struct {
		Status int
		Type   string
	}](b, "refused", "/v1/jobs")
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusUnauthorized, got.Status)
	require.Equal(b.t, "/problems/unauthorized", got.Type)
}

func pageStranger(b *browser) {
	stranger := open(b.t, b.solo, pages(b.t))
	_, err := call[submitted](stranger, "submit", b.solo.Key(), "Hello.")
	require.ErrorContains(b.t, err, "Failed to fetch")
	_, err = call[submitted](stranger, "refused", "/v1/jobs")
	require.ErrorContains(b.t, err, "Failed to fetch")
}
