package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/jobproto"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/job"
)

// feed reads server-sent events.
type feed struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
}

func (w *world) events(path string, headers ...string) *feed {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Transport: w.checked(&http.Transport{DisableKeepAlives: true})}).Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return &feed{t: w.t, resp: resp, r: bufio.NewReader(resp.Body)}
}

// next returns the lines of the next event or comment, or "" at the end.
func (f *feed) next() string {
	f.t.Helper()
	var b strings.Builder
	for {
		line, err := f.r.ReadString('\n')
		if line == "\n" || err != nil {
			return b.String()
		}
		b.WriteString(line)
	}
}

func (f *feed) event() (e jobdoc.Event, id string) {
	f.t.Helper()
	for line := range strings.Lines(f.next()) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			require.Equal(f.t, "progress", value)
		case "data":
			require.NoError(f.t, json.Unmarshal([]byte(value), &e))
		}
	}
	return e, id
}

func TestServerSentEventsShowAJobUntilItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Heartbeat = 300 * time.Millisecond })
	id := w.submitted(hello)
	path := "/v1/jobs/" + string(id) + "/events"
	f := w.events(path)
	require.Equal(t, http.StatusOK, f.resp.StatusCode)
	require.Equal(t, "text/event-stream", f.resp.Header.Get("Content-Type"))
	e, last := f.event()
	require.Equal(t, "1", last)
	require.Equal(t, job.StateAccepted, e.State)
	require.Equal(t, ":\n", f.next(), "a comment shows that the stream lives")

	again := w.events(path, "Last-Event-ID", last)
	require.Equal(t, ":\n", again.next(), "what the client has is not sent again")
	w.bump(id, job.StatePlanning)
	for _, one := range []*feed{f, again} {
		for one.r.Buffered() >= 0 {
			if e, last = one.event(); last != "" {
				break
			}
		}
		require.Equal(t, job.StatePlanning, e.State)
	}
	w.cancelInStore(id)
	for last = ""; e.State != job.StateCancelled; {
		e, last = f.event()
	}
	require.Equal(t, "3", last)
	require.Empty(t, f.next(), "the stream ends with the job")
	require.Equal(t, http.StatusNoContent, w.call("GET", path, "", "Last-Event-ID", "3").Status, "so that an EventSource stays away")
	e, _ = w.events(path).event()
	require.Equal(t, job.StateCancelled, e.State, "a client that knows nothing is told")
	for _, unsound := range []string{"x", "", "-1", "+1"} {
		request := "GET " + path + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + w.key + "\r\nLast-Event-ID: " + unsound + "\r\n\r\n"
		require.Equal(t, http.StatusBadRequest, w.wire(request).Status, "%q", unsound)
	}
	require.Equal(t, http.StatusBadRequest, w.call("GET", path+"?after_version=9223372036854775808", "", "Last-Event-ID", "0").Status, "one that does not count must be sound, too")
	require.Equal(t, http.StatusOK, w.call("HEAD", path, "").Status)
}

func TestAnEventStreamEndsWithItsClientAndWithTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	path := "/v1/jobs/" + string(id) + "/events?access_token=" + w.key
	gone := w.events(path, "Authorization", "Bearer "+w.key)
	gone.event()
	require.NoError(t, gone.resp.Body.Close())
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watches 0") }, time.Minute, 10*time.Millisecond)
	stays := w.events(path)
	stays.event()
	require.NoError(t, w.stop())
	require.Empty(t, stays.next())
	require.NotContains(t, w.log.String(), w.key)
	require.Contains(t, w.log.String(), `"events":1`)
}

func TestFramesGoOverWebSocketToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	s := w.ws("/v1/jobs/"+string(id)+"/live", &websocket.DialOptions{Subprotocols: []string{"chat", "voicemill.v1.proto"}})
	require.Equal(t, "voicemill.v1.proto", s.Subprotocol())
	hear := func() *voicemillv1.Frame {
		kind, raw, err := s.Read(s.ctx)
		require.NoError(t, err)
		require.Equal(t, websocket.MessageBinary, kind)
		f := &voicemillv1.Frame{}
		require.NoError(t, frame.Unmarshal(f, raw))
		return f
	}
	require.NotNil(t, hear().GetHello())
	require.Equal(t, int64(1), jobproto.Event(hear().GetEvent()).Version)
	whole, err := frame.Append(nil, &voicemillv1.Frame{Stream: 2, Body: &voicemillv1.Frame_Cancel{Cancel: &voicemillv1.Cancel{Id: string(id)}}})
	require.NoError(t, err)
	require.NoError(t, s.Write(s.ctx, websocket.MessageBinary, whole[4:]))
	var answered, event bool
	for range 2 {
		f := hear()
		answered = answered || f.GetJob().GetState() == voicemillv1.State_STATE_CANCELLED
		event = event || f.GetEvent().GetState() == voicemillv1.State_STATE_CANCELLED
		if event && !answered {
			break // the end of the job ends the connection
		}
	}
	require.True(t, event)
	code, _ := s.ended()
	require.Equal(t, websocket.StatusNormalClosure, code)
}

// TestADatabaseThatGoesAwayDoesNotEndAWatch holds I2 for watchers: hints are
// hints, and the truth is read when it can be.
func TestADatabaseThatGoesAwayDoesNotEndAWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	s := w.ws("/v1/jobs/"+string(id)+"/live", nil)
	s.hear()
	require.NotNil(t, s.hear().Event)
	w.exec(`alter table jobs rename to jobs_away`)
	w.bus.Hint(id, 0)
	w.exec(`alter table jobs_away rename to jobs`)
	w.bump(id, job.StatePlanning)
	require.Equal(t, job.StatePlanning, s.hear().Event.State)
}
