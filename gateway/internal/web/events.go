package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

const contentEvents = "text/event-stream"

// watchJob answers with the events of one job as server-sent events.
func watchJob(ctx context.Context, c *Call) (*Answer, error) {
	want, err := c.watching()
	if err != nil {
		return nil, err
	}
	if c.Method() == http.MethodHead {
		return &Answer{Status: http.StatusOK, ContentType: contentEvents}, c.s.ops.Owns(&c.caller, want.Job)
	}
	if want.Audio {
		return nil, problem.New(problem.BadRequest, "Sound is sent over WebSocket and frames: connect to /v1/jobs/{id}/live.")
	}
	w, err := c.s.ops.Watch(ctx, &c.caller, want)
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	// This is how an EventSource learns that it need not connect again.
	if w.Over() && c.Header("last-event-id") != nil {
		return &Answer{Status: http.StatusNoContent}, nil
	}
	head := append(c.header(&Answer{Status: http.StatusOK, ContentType: contentEvents}), http1.Field{Name: "X-Accel-Buffering", Value: "no"})
	e := &eventStream{c: c, out: c.begin(http.StatusOK, head, http1.UnknownLength)}
	if e.out == nil {
		return nil, errLeft
	}
	c.s.metrics.Sessions.Add(1)
	defer c.s.metrics.Sessions.Add(-1)
	_ = w.Run(e, nil) // however it ends, the client comes back with Last-Event-ID, and is told 204 if there is nothing more
	e.out.End()
	took := time.Since(c.caller.Started)
	c.log(&accesslog.Record{Status: http.StatusOK, Took: took, Events: e.sent, Stages: c.clock.Attr(took)})
	return nil, nil //nolint:nilnil // it was answered
}

// watching reads what is wanted of a job. Events are wanted after a version:
// Last-Event-ID (HTML, server-sent events), or a parameter for those who can set
// no field; the last one counts, and each must be sound.
func (c *Call) watching() (w operation.Watching, err error) {
	q, err := c.query("after_version", "audio", "from_segment", accessToken)
	if err != nil {
		return w, err
	}
	w.Job = job.ID(c.params[0])
	var given []string
	if text := q.Get("after_version"); text != "" {
		given = append(given, text)
	}
	if field := c.Header("last-event-id"); field != nil {
		given = append(given, string(field))
	}
	for _, text := range given {
		n, err := whole(text)
		if err != nil {
			return w, operation.BadVersion()
		}
		w.After = int64(n)
	}
	switch q.Get("audio") {
	case "", "0":
	case "1":
		w.Audio = true
	default:
		return w, problem.New(problem.BadRequest, "audio must be 0 or 1.")
	}
	if q.Has("from_segment") {
		if w.From, err = whole(q.Get("from_segment")); err != nil {
			return w, operation.BadSegment()
		}
		w.Audio = w.Audio || w.From > 0
	}
	return w, c.s.ops.CheckWatching(&w)
}

// eventStream is a watch as server-sent events. It implements [operation.Watcher].
type eventStream struct {
	c    *Call
	out  *edge.BodyWriter
	sent int64
}

// congested is how much output may wait before events are held back.
const congested = 64 << 10

// Event implements [operation.Watcher].
func (e *eventStream) Event(ev *jobdoc.Event) bool {
	if e.out.Buffered() > congested {
		e.c.s.dep.Metrics.Held.Inc()
		return false
	}
	var b bytes.Buffer
	b.WriteString("id: " + strconv.FormatInt(ev.Version, 10) + "\nevent: progress\ndata: ")
	if err := json.NewEncoder(&b).Encode(ev); err != nil {
		return true // nothing in an event can fail
	}
	b.WriteByte('\n')
	if err := e.out.Write(b.Bytes()); err == nil {
		e.sent++
		e.c.s.metrics.Events.Inc()
	}
	return true
}

// Ready implements [operation.Watcher].
func (e *eventStream) Ready(ctx context.Context) error { return e.out.Wait(ctx) }

// Beat implements [operation.Watcher].
func (e *eventStream) Beat() {
	if e.out.Buffered() == 0 {
		_ = e.out.Write([]byte(":\n\n")) // a client that is gone ends the watch by itself
	}
}
