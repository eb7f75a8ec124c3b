package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

// said is one message of the gateway's over WebSocket.
type said struct {
	Stream   uint32                  `json:"stream"`
	Hello    *struct{ Agent string } `json:"hello"`
	Accepted *struct {
		Job       jobdoc.Document `json:"job"`
		RequestID string          `json:"request_id"`
	} `json:"accepted"`
	Job   *jobdoc.Document `json:"job"`
	Event *jobdoc.Event    `json:"event"`
	Audio *struct {
		Segment    int    `json:"segment"`
		SampleRate int    `json:"sample_rate"`
		PCM        []byte `json:"pcm"`
	} `json:"audio"`
	Problem *struct {
		client.Problem
		RetryAfterSeconds uint32 `json:"retry_after_seconds"`
	} `json:"problem"`
	Pong *struct{ Data string } `json:"pong"`
	Ping *struct{ Data string } `json:"ping"`
}

// socket is a client that is not ours.
type socket struct {
	*websocket.Conn
	w    *world
	ctx  context.Context //nolint:containedctx // the test's
	head http.Header     // of the 101
}

func (w *world) ws(path string, options *websocket.DialOptions) *socket {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	if options == nil {
		options = &websocket.DialOptions{Subprotocols: []string{"voicemill.v1.json"}}
	}
	tr := &http.Transport{}
	w.t.Cleanup(tr.CloseIdleConnections)
	options.HTTPClient = &http.Client{Transport: w.checked(tr)}
	if options.HTTPHeader == nil {
		options.HTTPHeader = http.Header{"Authorization": {"Bearer " + w.key}}
	}
	c, resp, err := websocket.Dial(ctx, strings.Replace(w.url, "http", "ws", 1)+path, options) //nolint:bodyclose // a 101 has none
	require.NoError(w.t, err)
	require.NotEmpty(w.t, resp.Header.Get("X-Request-Id"))
	w.t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{Conn: c, w: w, ctx: ctx, head: resp.Header}
}

func (s *socket) tell(message string) {
	s.w.t.Helper()
	require.NoError(s.w.t, s.w.contract.Message("FrameRequest", []byte(message)))
	s.tellWrong(message)
}

// tellWrong is tell for a message that is wrong on purpose.
func (s *socket) tellWrong(message string) {
	s.w.t.Helper()
	require.NoError(s.w.t, s.Write(s.ctx, websocket.MessageText, []byte(message)))
}

func (s *socket) hear() said {
	s.w.t.Helper()
	kind, raw, err := s.Read(s.ctx)
	require.NoError(s.w.t, err)
	require.Equal(s.w.t, websocket.MessageText, kind)
	return s.w.understand(raw)
}

// understand holds a message against the contract.
func (w *world) understand(raw []byte) said {
	w.t.Helper()
	require.NoError(w.t, w.contract.Message("FrameReply", raw))
	var m said
	require.NoError(w.t, json.Unmarshal(raw, &m), "%s", raw)
	return m
}

// ended reads until the server closes and returns the code and the reason.
func (s *socket) ended() (websocket.StatusCode, string) {
	s.w.t.Helper()
	for {
		_, _, err := s.Read(s.ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			return closed.Code, closed.Reason
		}
		require.NoError(s.w.t, err)
	}
}

func (w *world) bump(id job.ID, state job.State) {
	w.t.Helper()
	w.exec(`update jobs set state = $2, version = version + 1 where id = $1`, id, state)
	w.bus.Hint(id, 0)
}

func (w *world) cancelInStore(id job.ID) {
	w.t.Helper()
	w.exec(`update jobs set state = 'cancelled', finished_at = now(), version = version + 1 where id = $1`, id)
	w.bus.Hint(id, 0)
}

func TestLiveShowsAJobUntilItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	for name, open := range map[string]func() *socket{
		"key in the header": func() *socket { return w.ws("/v1/jobs/"+string(id)+"/live", nil) },
		"key in the query, no subprotocol": func() *socket {
			return w.ws("/v1/jobs/"+string(id)+"/live?access_token="+w.key, &websocket.DialOptions{HTTPHeader: http.Header{}})
		},
	} {
		s := open()
		require.NotNil(t, s.hear().Hello, name)
		e := s.hear()
		require.NotNil(t, e.Event, name)
		require.Equal(t, uint32(1), e.Stream)
		version := e.Event.Version
		w.exec(`update jobs set segments_total = 10, segments_done = 4, version = version + 1 where id = $1`, id)
		w.bus.Hint(id, 0)
		e = s.hear()
		require.Equal(t, version+1, e.Event.Version, name)
		require.Equal(t, 4, e.Event.Progress.Segments.Done)
		require.NoError(t, s.Close(websocket.StatusNormalClosure, ""))
	}
	s := w.ws("/v1/jobs/"+string(id)+"/live?after_version=3", nil)
	require.NotNil(t, s.hear().Hello)
	w.cancelInStore(id)
	e := s.hear()
	require.Equal(t, job.StateCancelled, e.Event.State)
	require.Equal(t, int64(4), e.Event.Version, "what the client had was not sent again")
	code, reason := s.ended()
	require.Equal(t, websocket.StatusNormalClosure, code, reason)

	require.Eventually(t, func() bool {
		m := w.metrics()
		return strings.Contains(m, `voicemill_gateway_sessions{protocol="websocket"} 0`) && strings.Contains(m, "voicemill_gateway_watches 0")
	}, time.Minute, 10*time.Millisecond)
	require.NotContains(t, w.log.String(), w.key, "the key in the query is never logged")
	require.Contains(t, w.log.String(), `"protocol":"websocket"`)
	require.Contains(t, w.log.String(), `connection closed`)
	require.True(t, w.counts(`voicemill_gateway_events_total{protocol="websocket"} 5`), "%s", w.metrics())
}

func TestManyCallsShareOneWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	s.tell(`{"stream":7,"submit":{"spec":` + hello + `,"idempotency_key":"k1","request_id":"mine"}}`)
	m := s.hear()
	require.NotNil(t, m.Accepted)
	require.Equal(t, uint32(7), m.Stream)
	require.Equal(t, "mine", m.Accepted.RequestID)
	id := m.Accepted.Job.ID
	s.tell(`{"stream":7,"submit":{"spec":` + hello + `,"idempotency_key":"k1"}}`)
	require.Equal(t, id, s.hear().Accepted.Job.ID, "the same key and the same spec are the same job")
	require.Equal(t, id, w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k1").job(t).ID, "over HTTP, too")
	s.tell(`{"stream":7,"submit":{"spec":{"input":{"text":"other"},"voice":"narrator-en"},"idempotency_key":"k1"}}`)
	require.Equal(t, "/problems/idempotency-key-reused", s.hear().Problem.Type)
	s.tellWrong(`{"stream":8,"submit":{"spec":{"input":{},"speed":9}}}`)
	require.Len(t, s.hear().Problem.Errors, 2)

	w.write(w.take(3)[0])
	s.tell(`{"stream":9,"get":{"id":"` + string(id) + `"}}`)
	m = s.hear()
	require.Equal(t, id, m.Job.ID)
	s.tell(`{"stream":10,"get":{"id":"` + string(id) + `","wait_seconds":60,"after_version":1}}`) // held
	s.tell(`{"stream":11,"watch":{"id":"` + string(id) + `"}}`)
	require.Equal(t, int64(1), s.hear().Event.Version)
	s.tell(`{"stream":0,"ping":{"data":"x"}}`)
	require.Equal(t, "x", s.hear().Pong.Data, "nothing waits for the call that is held")
	s.tell(`{"stream":12,"cancel":{"id":"` + string(id) + `"}}`)
	streams := map[uint32]said{}
	for range 3 {
		m := s.hear()
		streams[m.Stream] = m
	}
	require.Equal(t, job.StateCancelled, streams[10].Job.State)
	require.Equal(t, job.StateCancelled, streams[11].Event.State)
	require.Equal(t, job.StateCancelled, streams[12].Job.State)

	s.tell(`{"stream":13,"get":{"id":"job_nobody"}}`)
	require.Equal(t, http.StatusNotFound, s.hear().Problem.Status)
	other := w.ws("/v1/connect", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + w.other}}})
	require.NotNil(t, other.hear().Hello)
	other.tell(`{"stream":1,"watch":{"id":"` + string(id) + `"}}`)
	require.Equal(t, http.StatusNotFound, other.hear().Problem.Status, "what belongs to another tenant is not there")
}

func TestAWatchIsLeftByACancelWithoutAnID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	s.tell(`{"stream":1,"watch":{"id":"` + string(id) + `"}}`)
	require.NotNil(t, s.hear().Event)
	s.tell(`{"stream":1,"cancel":{}}`)
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watches 0") }, time.Minute, 10*time.Millisecond)
	s.tell(`{"stream":1,"get":{"id":"` + string(id) + `"}}`)
	require.NotNil(t, s.hear().Job, "the stream is free again and no event came between")
}

func TestEventsWaitForTheWindowAndTheNewestWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	s.tell(`{"stream":0,"hello":{"window":300}}`) // one event, not two
	s.tell(`{"stream":1,"watch":{"id":"` + string(id) + `"}}`)
	require.Equal(t, int64(1), s.hear().Event.Version)
	for range 3 {
		w.bump(id, job.StatePlanning)
	}
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_events_held_total 1") }, time.Minute, 10*time.Millisecond)
	s.tell(`{"stream":0,"ping":{}}`)
	require.NotNil(t, s.hear().Pong, "nothing came before")
	s.tell(`{"stream":1,"window":{"bytes":300}}`)
	require.Equal(t, int64(4), s.hear().Event.Version, "those between are never sent")
}

func TestWhatIsWrongOverWebSocketHasItsCloseCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for name, c := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
	}{
		"no JSON":               {websocket.MessageText, `{`, 1007},
		"two bodies":            {websocket.MessageText, `{"stream":1,"ping":{},"pong":{}}`, 1007},
		"no body":               {websocket.MessageText, `{"stream":1}`, 1007},
		"an unknown member":     {websocket.MessageText, `{"stream":1,"gte":{}}`, 1007},
		"something after it":    {websocket.MessageText, `{"stream":0,"ping":{}} x`, 1007},
		"a call on stream 0":    {websocket.MessageText, `{"get":{"id":"x"}}`, 1002},
		"binary in JSON":        {websocket.MessageBinary, `{"stream":0,"ping":{}}`, 1003},
		"too much to ping with": {websocket.MessageText, `{"ping":{"data":"` + strings.Repeat("x", 126) + `"}}`, 1002},
		"a message too large":   {websocket.MessageText, `{"ping":{"data":"` + strings.Repeat("x", 1<<20) + `"}}`, 1009},
		"large and not JSON":    {websocket.MessageText, strings.Repeat("[", 1<<19), 1007},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.ws("/v1/connect", nil)
			require.NotNil(t, s.hear().Hello)
			_ = s.Write(s.ctx, c.kind, []byte(c.message)) // the server may have closed before it is all out
			code, reason := s.ended()
			require.Equal(t, c.code, code, reason)
		})
	}
	t.Run("a stream that is in use", func(t *testing.T) {
		t.Parallel()
		s := w.ws("/v1/connect", nil)
		s.hear()
		get := `{"stream":1,"get":{"id":"` + string(w.mintedFor(tenant)) + `","wait_seconds":60}}`
		s.tell(get)
		s.tell(get)
		code, _ := s.ended()
		require.Equal(t, websocket.StatusProtocolError, code)
	})
}

func TestAWebSocketIsRefusedAsHTTPSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.KeyWatches = 1 })
	id := w.submitted(hello)
	live := "/v1/jobs/" + string(id) + "/live"
	for _, path := range []string{live, "/v1/connect"} {
		a := w.call("GET", path, "")
		require.Equal(t, http.StatusUpgradeRequired, a.Status)
		require.Equal(t, "websocket", a.Header.Get("Upgrade"))
		require.Equal(t, http.StatusUnauthorized, w.call("GET", path, "", "Authorization", "").Status)
		require.Equal(t, http.StatusUnauthorized, w.call("GET", path+"?access_token=vm_x", "", "Authorization", "").Status)
	}
	require.Equal(t, http.StatusNotFound, w.call("GET", live, "", "Authorization", "Bearer "+w.other).Status)
	require.Equal(t, http.StatusBadRequest, w.call("GET", live+"?after_version=x", "").Status)
	require.Equal(t, http.StatusUnauthorized, w.call("GET", "/v1/jobs?access_token="+w.key, "", "Authorization", "").Status, "only where a browser needs it")

	s := w.ws("/v1/connect", nil)
	s.hear()
	watch := `{"stream":%,"watch":{"id":"` + string(id) + `"}}`
	s.tell(strings.Replace(watch, "%", "1", 1))
	require.NotNil(t, s.hear().Event)
	s.tell(strings.Replace(watch, "%", "2", 1))
	require.Equal(t, http.StatusTooManyRequests, s.hear().Problem.Status)
	require.Equal(t, http.StatusTooManyRequests, w.call("GET", "/v1/jobs/"+string(id)+"/events", "").Status)

	_, resp, err := websocket.Dial(t.Context(), strings.Replace(w.url, "http", "ws", 1)+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // no body
		Subprotocols: []string{"chat"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + w.key}},
		HTTPClient: &http.Client{Transport: w.checked(nil)},
	})
	require.Error(t, err)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

func TestCompressedMessagesAreUnderstood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Deflate = true })
	s := w.ws("/v1/connect", &websocket.DialOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1})
	require.NotNil(t, s.hear().Hello)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000) // 45 KB: read off the loop
	s.tell(`{"stream":1,"submit":{"spec":{"input":{"text":"` + text + `"},"voice":"narrator-en"}}}`)
	require.NotNil(t, s.hear().Accepted)
	require.Equal(t, text, w.take(1)[0].Spec.Input.Text)
	noise := make([]byte, 2000)
	_, err := rand.Read(noise)
	require.NoError(t, err)
	text = hex.EncodeToString(noise) // 4 KB: unpacked off the loop, small enough to be read there
	s.tell(`{"stream":2,"submit":{"spec":{"input":{"text":"` + text + `"},"voice":"narrator-en"}}}`)
	require.NotNil(t, s.hear().Accepted)
	require.Equal(t, text, w.take(1)[0].Spec.Input.Text)
	require.NoError(t, s.Write(s.ctx, websocket.MessageText, append(bytes.Repeat(noise, 10), 0xff)))
	code, reason := s.ended()
	require.Equal(t, websocket.StatusInvalidFramePayloadData, code, reason)
}

func TestASilentPeerIsAskedAndThenCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Ping = 2 * time.Second })
	s := w.ws("/v1/connect", nil) // which answers pings only while it reads
	require.Eventually(t, func() bool {
		return strings.Contains(w.log.String(), `"close_code":1008`)
	}, time.Minute, 10*time.Millisecond)
	code, _ := s.ended()
	require.Equal(t, websocket.StatusPolicyViolation, code)

	s = w.ws("/v1/connect", nil)
	pinged := make(chan said, 1)
	go func() { // reading is what answers pings
		if _, raw, err := s.Read(s.ctx); err == nil {
			_ = raw
		}
		_, raw, err := s.Read(s.ctx)
		if err == nil {
			pinged <- w.understand(raw)
		}
	}()
	timer := time.NewTimer(2*w.cfg.Ping + w.cfg.Ping/2)
	defer timer.Stop()
	<-timer.C
	s.tell(`{"ping":{"data":"alive"}}`)
	require.Equal(t, "alive", (<-pinged).Pong.Data)
}

func TestADrainEndsWatchesWithAHintToResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	live := w.ws("/v1/jobs/"+string(id)+"/live", nil)
	live.hear()
	version := live.hear().Event.Version
	idle := w.ws("/v1/connect", nil)
	idle.hear()
	held := w.ws("/v1/connect", nil)
	held.hear()
	held.tell(`{"stream":5,"get":{"id":"` + string(id) + `","wait_seconds":60,"after_version":1}}`)
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 2") }, time.Minute, 10*time.Millisecond)

	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	code, reason := live.ended()
	require.Equal(t, websocket.StatusServiceRestart, code)
	require.Contains(t, reason, "after_version="+strconv.FormatInt(version, 10))
	code, _ = idle.ended()
	require.Equal(t, websocket.StatusServiceRestart, code)
	require.NotNil(t, held.hear().Job, "what is held is answered first")
	code, _ = held.ended()
	require.Equal(t, websocket.StatusServiceRestart, code)
	require.NoError(t, <-stopped)
}
