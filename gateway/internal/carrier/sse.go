package carrier

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// eventStream is a watch as server-sent events.
type eventStream struct {
	x      *exchange
	feed   *api.Feed
	out    *edge.Stream
	line   entry
	events atomic.Uint64
	ended  atomic.Bool
}

// Watch implements [api.Watchable].
func (x *exchange) Watch(f *api.Feed) api.Sink {
	if !x.answered.CompareAndSwap(false, true) {
		return nil
	}
	x.call.Sending()
	e := &eventStream{x: x, feed: f, line: x.entry(&api.Answer{Status: http.StatusOK}, 0)}
	head := x.header(&api.Answer{Status: http.StatusOK, ContentType: "text/event-stream"})
	e.out = x.Stream(http.StatusOK, append(head, http1.Field{Name: "X-Accel-Buffering", Value: "no"}), http1.StreamLength)
	x.k.metrics.of(protocolHTTP).end(e.line.route, e.line.method, http.StatusOK, e.line.took)
	if e.out == nil {
		return nil
	}
	x.k.metrics.of(protocolHTTP).sessions.Add(1)
	x.OnClose(func() {
		f.Stop()
		e.over()
	})
	return e
}

// Event implements [api.Sink].
func (e *eventStream) Event(ev *jobdoc.Event) bool {
	if e.out.Buffered() > congested && e.out.AskRoom(e.feed.Resume) {
		e.x.k.metrics.held.Inc()
		return false
	}
	var b bytes.Buffer
	b.WriteString("id: " + strconv.FormatInt(ev.Version, 10) + "\nevent: progress\ndata: ")
	j := json.NewEncoder(&b)
	if err := j.Encode(ev); err != nil {
		return true // nothing in an event can fail
	}
	b.WriteByte('\n')
	if err := e.out.Write(b.Bytes()); err == nil {
		e.events.Add(1)
		e.x.k.metrics.of(protocolHTTP).events.Inc()
	}
	return true
}

// Beat implements [api.Sink].
func (e *eventStream) Beat() {
	if e.out.Buffered() == 0 {
		_ = e.out.Write([]byte(":\n\n")) // a client that is gone ends the feed by itself
	}
}

// End implements [api.Sink]. However it ends, the client comes back with
// Last-Event-ID, and is told 204 if there is nothing more.
func (e *eventStream) End(*api.Answer) {
	e.out.End()
	e.over()
}

// over notes the end; that of the job and that of the client may come together.
func (e *eventStream) over() {
	if !e.ended.CompareAndSwap(false, true) {
		return
	}
	e.x.k.metrics.of(protocolHTTP).sessions.Add(-1)
	if e.line.attrs != nil {
		took := time.Since(e.x.call.Started)
		e.line.setEvents(e.events.Load(), took, e.x.call.Stages(took))
	}
	e.x.k.log(&e.line)
}

var (
	_ api.Watchable   = (*exchange)(nil)
	_ api.Connectable = (*exchange)(nil)
)
