package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

func (w *world) address() string { return strings.TrimPrefix(w.url, "http://") }

func (w *world) frames(key string) *frames.Conn {
	w.t.Helper()
	c, err := frames.Dial(w.t.Context(), frames.Config{Address: w.address(), Key: key})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestManyCallsShareOneConnectionOfFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.frames(w.key)
	spec := &job.Spec{Input: job.Input{Text: "It was the best of times."}, Voice: "narrator-en", Labels: map[string]string{"a": "1", "b": "2", "c": "3"}}
	d, err := c.Submit(t.Context(), spec, frames.SubmitOptions{IdempotencyKey: "k"})
	require.NoError(t, err)
	require.Equal(t, spec.Labels, d.Labels)
	for range 5 { // whatever order the labels are sent in
		again, err := c.Submit(t.Context(), spec, frames.SubmitOptions{IdempotencyKey: "k"})
		require.NoError(t, err)
		require.Equal(t, d.ID, again.ID)
	}
	got, err := c.Job(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, job.StateAccepted, got.State)
	jobs := w.take(6)
	require.Equal(t, job.DefaultPauses(), *jobs[0].Spec.Output.Pauses)
	w.write(jobs[0])

	var all sync.WaitGroup
	ids := make([]job.ID, 100)
	for i := range ids {
		all.Go(func() {
			d, err := c.Submit(t.Context(), spec, frames.SubmitOptions{})
			if err == nil {
				ids[i] = d.ID
			}
		})
	}
	ended := make(chan []jobdoc.Event, 1)
	all.Go(func() {
		var seen []jobdoc.Event
		if err := c.Watch(t.Context(), d.ID, 0, func(e jobdoc.Event) { seen = append(seen, e) }); err == nil {
			ended <- seen
		}
	})
	polled := make(chan jobdoc.Document, 1)
	all.Go(func() {
		if d, err := c.Poll(t.Context(), d.ID, 1, time.Minute); err == nil {
			polled <- d
		}
	})
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 2") }, time.Minute, 10*time.Millisecond)
	require.NoError(t, c.Ping(t.Context()))
	cancelled, err := c.Cancel(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, job.StateCancelled, cancelled.State)
	all.Wait()
	unique := map[job.ID]bool{}
	for _, id := range ids {
		unique[id] = true
	}
	require.Len(t, unique, len(ids))
	seen := <-ended
	require.Equal(t, job.StateAccepted, seen[0].State)
	require.Equal(t, job.StateCancelled, seen[len(seen)-1].State)
	require.Equal(t, job.StateCancelled, (<-polled).State)
	require.True(t, w.counts(`voicemill_gateway_requests_total{protocol="frames",route="POST /v1/jobs",status="2xx"} 106`), "%s", w.metrics())
}

func TestFramesAreRefusedWithProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	var p *client.Problem
	_, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: "vm_0123456789abcdefghjkmnpqrs"})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusUnauthorized, p.Status)

	c := w.frames(w.other)
	_, err = c.Job(t.Context(), id)
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusNotFound, p.Status)
	require.NotEmpty(t, p.RequestID)
	err = c.Watch(t.Context(), id, 0, func(jobdoc.Event) {})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusNotFound, p.Status)
	_, err = c.Submit(t.Context(), &job.Spec{Speed: 7}, frames.SubmitOptions{})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusUnprocessableEntity, p.Status)
	require.Len(t, p.Errors, 2)
	reader := w.frames(w.newKey(tenant, "jobs:read"))
	_, err = reader.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "a"}}, frames.SubmitOptions{})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusForbidden, p.Status)

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- reader.Watch(ctx, id, 0, func(jobdoc.Event) {}) }()
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watches 1") }, time.Minute, 10*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watches 0") }, time.Minute, 10*time.Millisecond)
	require.NoError(t, reader.Ping(t.Context()), "the connection goes on")
}

func TestADrainSaysSoInFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	c := w.frames(w.key)
	watching := make(chan struct{}, 8)
	ended := make(chan error, 1)
	go func() { ended <- c.Watch(t.Context(), id, 0, func(jobdoc.Event) { watching <- struct{}{} }) }()
	<-watching
	require.NoError(t, w.stop())
	var p *client.Problem
	require.ErrorAs(t, <-ended, &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	require.Contains(t, p.Detail, "after version 1")
	<-c.Done()
	require.ErrorAs(t, c.Err(), &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
}

// raw speaks frames byte by byte.
type raw struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (w *world) raw(t *testing.T) *raw {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", w.address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	return &raw{Conn: c, t: t, r: bufio.NewReader(c)}
}

// hear returns the next frame, or nil at the end.
func (c *raw) hear() *voicemillv1.Frame {
	c.t.Helper()
	var length [4]byte
	if _, err := io.ReadFull(c.r, length[:]); err != nil {
		require.ErrorIs(c.t, err, io.EOF)
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(c.r, b)
	require.NoError(c.t, err)
	f := &voicemillv1.Frame{}
	require.NoError(c.t, frame.Unmarshal(f, b))
	return f
}

func framed(t *testing.T, list ...*voicemillv1.Frame) []byte {
	t.Helper()
	b := []byte(frame.Preface)
	var err error
	for _, f := range list {
		b, err = frame.Append(b, f)
		require.NoError(t, err)
	}
	return b
}

func TestFramesMayBeCutAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	all := framed(t,
		&voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + w.key}}},
		&voicemillv1.Frame{Stream: 3, Body: &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{Data: []byte("one")}}},
		&voicemillv1.Frame{Stream: 4, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: "x"}}},
		&voicemillv1.Frame{Stream: 5, Body: &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{Data: make([]byte, 125)}}},
	)
	for _, step := range []int{1, 3, 7, len(all)} {
		c := w.raw(t)
		for at := 0; at < len(all); at += step {
			_, err := c.Write(all[at:min(at+step, len(all))])
			require.NoError(t, err)
		}
		require.NotNil(t, c.hear().GetHello())
		require.Equal(t, "one", string(c.hear().GetPong().GetData()))
		answers := map[uint32]*voicemillv1.Frame{} // a call takes its time, and the ping behind it none
		for range 2 {
			f := c.hear()
			answers[f.GetStream()] = f
		}
		require.Equal(t, uint32(http.StatusNotFound), answers[4].GetProblem().GetStatus())
		require.Len(t, answers[5].GetPong().GetData(), 125)
	}
}

func TestBadFramesEndTheConnectionWithAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	login := &voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + w.key}}}
	ping := &voicemillv1.Frame{Body: &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{}}}
	for name, c := range map[string]struct {
		bytes  []byte
		hello  bool
		status uint32
	}{
		"no hello":                {framed(t, ping), false, 400},
		"a large hello":           {append(framed(t), 0, 0, 0x40, 0), false, 413},
		"a frame over the limit":  {append(framed(t, login), 0, 0x10, 0, 1), true, 413},
		"no protobuf":             {append(framed(t, login), 0, 0, 0, 2, 0xff, 0xff), true, 400},
		"a frame without a body":  {append(framed(t, login), 0, 0, 0, 0), true, 400},
		"a frame of the server's": {framed(t, login, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Job{Job: &voicemillv1.Job{}}}), true, 400},
		"a call on stream 0":      {framed(t, login, &voicemillv1.Frame{Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{}}}), true, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := w.raw(t)
			_, err := conn.Write(c.bytes)
			require.NoError(t, err)
			if c.hello {
				require.NotNil(t, conn.hear().GetHello())
			}
			require.Equal(t, c.status, conn.hear().GetProblem().GetStatus())
			require.Nil(t, conn.hear())
		})
	}
}

func TestTooManyStreamsAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	list := []*voicemillv1.Frame{{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + w.key}}}}
	const most = 256
	for n := range uint32(most + 1) {
		list = append(list, &voicemillv1.Frame{Stream: n + 1, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: string(id), WaitSeconds: 60, AfterVersion: 1}}})
	}
	c := w.raw(t)
	_, err := c.Write(framed(t, list...))
	require.NoError(t, err)
	require.Equal(t, uint32(most), c.hear().GetHello().GetMaxStreams())
	f := c.hear()
	require.Equal(t, uint32(most+1), f.GetStream())
	require.Equal(t, uint32(http.StatusServiceUnavailable), f.GetProblem().GetStatus())
	require.Positive(t, f.GetProblem().GetRetryAfterSeconds())
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 256") }, time.Minute, 10*time.Millisecond)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 0") }, time.Minute, 10*time.Millisecond)
}

func TestAClientThatHasSaidAllStillGetsItsAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	login := &voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + w.key}}}
	submit := &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{Spec: &voicemillv1.Spec{Text: "Hello."}}}}
	shut := func(c net.Conn) {
		tcp, ok := c.(*net.TCPConn)
		require.True(t, ok)
		require.NoError(t, tcp.CloseWrite())
	}
	t.Run("in frames", func(t *testing.T) {
		t.Parallel()
		c := w.raw(t)
		_, err := c.Write(framed(t, login, submit))
		require.NoError(t, err)
		shut(c.Conn)
		require.NotNil(t, c.hear().GetHello())
		f := c.hear()
		if f.GetPing() != nil {
			f = c.hear()
		}
		require.NotEmpty(t, f.GetAccepted().GetJob().GetId(), "%v", f)
		require.Nil(t, c.hear())
	})
	t.Run("over WebSocket", func(t *testing.T) {
		t.Parallel()
		c := w.raw(t)
		_, err := io.WriteString(c, "GET /v1/connect HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "+w.key+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: voicemill.v1.json\r\n\r\n")
		require.NoError(t, err)
		_, err = c.Write(corpus.Final(corpus.Text, `{"stream":1,"submit":{"spec":`+hello+`}}`))
		require.NoError(t, err)
		shut(c.Conn)
		all, err := io.ReadAll(c.r)
		require.NoError(t, err)
		require.Contains(t, string(all), `"accepted":{"job":`)
		require.True(t, bytes.HasSuffix(all, ws.AppendClose(nil, ws.CodeNormal, "")), "%q", all)
	})
}
