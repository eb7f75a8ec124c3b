package carrier

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/trace"
)

// stream is one call on a session, as the API sees it.
type stream struct {
	s    *session
	id   uint32
	call api.Call
	path string
	body []byte // of a submit in JSON

	bytesIn int // of the message that asked for the call

	method, query, idempotencyKey, ifNoneMatch string

	answered atomic.Bool
	events   atomic.Uint64

	// Under s.mu.
	feed    *api.Feed
	onClose []func()
	ctx     context.Context //nolint:containedctx // made on demand, for handlers that leave the loop
	cancel  context.CancelFunc
	left    bool  // the client has left the call
	limited bool  // the client grants credit
	credit  int64 // bytes of events and sound that may be sent; sound may overdraw it a little
	starved bool  // an event waits for credit
	muted   bool  // sound waits for credit
	least   int   // bytes of samples that are worth a message
}

// fill makes the stream the call that r asks for. It reports false if r asks for none.
func (st *stream) fill(r *request) bool {
	const jobs = "/v1/jobs"
	st.method = http.MethodGet
	switch {
	case r.Submit != nil:
		st.method, st.path = http.MethodPost, jobs
		st.body, st.call.Spec, st.idempotencyKey = r.Submit.Spec, r.Submit.spec, r.Submit.IdempotencyKey
		if tp := r.Submit.Traceparent; tp != "" && st.s.k.trace(&st.call, []byte(tp), 1) {
			st.call.Tracestate = trace.State(r.Submit.Tracestate)
		}
		if id, ok := requestID([]byte(r.Submit.RequestID)); ok {
			st.call.RequestID = id
		}
	case r.Get != nil:
		st.path = jobs + "/" + url.PathEscape(r.Get.ID)
		if r.Get.WaitSeconds > 0 || r.Get.AfterVersion > 0 {
			st.query = "wait=" + strconv.FormatUint(uint64(r.Get.WaitSeconds), 10)
			st.ifNoneMatch = `W/"` + strconv.FormatUint(r.Get.AfterVersion, 10) + `"`
		}
	case r.Watch != nil:
		st.path = jobs + "/" + url.PathEscape(r.Watch.ID) + "/events"
		st.query = "after_version=" + strconv.FormatUint(r.Watch.AfterVersion, 10)
		if r.Watch.Audio || r.Watch.FromSegment > 0 {
			st.query += "&audio=1&from_segment=" + strconv.FormatUint(uint64(r.Watch.FromSegment), 10)
		}
	case r.Cancel != nil:
		st.method, st.path = http.MethodPost, jobs+"/"+url.PathEscape(r.Cancel.ID)+"/cancel"
	default:
		return false
	}
	return true
}

// Method implements [api.Exchange].
func (st *stream) Method() string { return st.method }

// RawPath implements [api.Exchange].
func (st *stream) RawPath() []byte { return []byte(st.path) }

// Query implements [api.Exchange].
func (st *stream) Query() []byte { return []byte(st.query) }

// Header implements [api.Exchange].
func (st *stream) Header(name string) []byte {
	var value string
	switch name {
	case "content-type":
		value = "application/json"
	case "idempotency-key":
		value = st.idempotencyKey
	case "if-none-match":
		value = st.ifNoneMatch
	}
	if value == "" {
		return nil
	}
	return []byte(value)
}

// Body implements [api.Exchange]. That of a frame is its spec as JSON, which
// tells one spec from another whatever order a client gives its labels.
func (st *stream) Body() []byte {
	if st.call.Spec == nil {
		return st.body
	}
	b, err := json.Marshal(st.call.Spec)
	if err != nil {
		return nil // a spec that is not a number somewhere, which the API refuses
	}
	return b
}

// Detach implements [api.Exchange]: a stream owns its memory.
func (st *stream) Detach() {}

// Context implements [api.Exchange].
func (st *stream) Context() context.Context {
	base := st.s.conn.Context()
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.ctx == nil {
		st.ctx, st.cancel = context.WithCancel(base)
		if st.left {
			st.cancel()
		}
	}
	return st.ctx
}

// OnClose implements [api.Exchange].
func (st *stream) OnClose(f func()) {
	st.s.mu.Lock()
	left := st.left
	if !left && !st.answered.Load() {
		st.onClose = append(st.onClose, f)
	}
	st.s.mu.Unlock()
	if left {
		f()
	}
}

// Reply implements [api.Exchange].
func (st *stream) Reply(a *api.Answer) {
	if !st.answered.CompareAndSwap(false, true) {
		return
	}
	n := st.s.answer(st, st.reply(a))
	st.s.k.metrics.of(st.s.protocol).end(st.call.Route, st.method, a.Status, time.Since(st.call.Started))
	st.s.logCall(st.message(n), a, st.call.Stages)
	st.s.done(st)
	if st.s.live && st.id == liveStream {
		st.s.refuseLive(a)
	}
}

// message is the call as the access log tells of it.
func (st *stream) message(bytesOut int) message {
	return message{call: &st.call, method: st.method, path: st.path, bytesIn: st.bytesIn, bytesOut: bytesOut, events: st.events.Load()}
}

// reply spells an answer.
func (st *stream) reply(a *api.Answer) *reply {
	r := &reply{Stream: st.id}
	switch {
	case a.Problem != nil:
		r.Problem = &problemReply{Problem: a.Problem, RetryAfterSeconds: seconds(a.RetryAfter)}
	case a.Job != nil && st.method == http.MethodPost && st.path == "/v1/jobs":
		r.Accepted = &acceptedReply{Job: a.Job, RequestID: st.call.RequestID}
	case a.Job != nil:
		r.Job = a.Job
	default:
		refusal := api.Refusal(http.StatusInternalServerError, "This answer cannot be put into a message.", st.call.RequestID)
		r.Problem = &problemReply{Problem: refusal.Problem}
	}
	return r
}

// Watch implements [api.Watchable].
func (st *stream) Watch(f *api.Feed) api.Sink {
	if !st.watch(f) {
		return nil
	}
	return st
}

// WatchAudio implements [api.Audible].
func (st *stream) WatchAudio(f *api.Feed) api.AudioSink {
	if !st.watch(f) {
		return nil
	}
	return st
}

func (st *stream) watch(f *api.Feed) bool {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.left || !st.answered.CompareAndSwap(false, true) {
		return false
	}
	st.feed = f
	st.limited = s.window > 0
	st.credit += int64(s.window) // to what the client may have granted already
	st.least = max(bytesPerSample, min(leastPiece, (int(s.window)-audioFrame)/2))
	s.k.metrics.of(s.protocol).end(st.call.Route, st.method, http.StatusOK, time.Since(st.call.Started))
	return true
}

// congested is how much output may wait before events are held back.
const congested = 64 << 10

// Event implements [api.Sink].
func (st *stream) Event(e *jobdoc.Event) bool {
	s := st.s
	if s.conn.Buffered() > congested && s.conn.AskRoom(st.feed.Resume) {
		s.k.metrics.held.Inc()
		return false
	}
	p, err := s.pack(&reply{Stream: st.id, Event: e})
	if err != nil {
		return true // the session has ended itself
	}
	if !st.spend(len(p)) {
		s.k.metrics.held.Inc()
		return false
	}
	if e.State.Final() { // the peer may use the stream again as soon as it has seen this
		s.mu.Lock()
		delete(s.streams, st.id)
		s.mu.Unlock()
	}
	s.write(p)
	st.events.Add(1)
	s.k.metrics.of(s.protocol).events.Inc()
	return true
}

// spend takes n bytes of credit.
func (st *stream) spend(n int) bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.limited && st.credit < int64(n) {
		st.starved = true
		return false
	}
	st.credit -= int64(n)
	return true
}

// grant adds credit and resumes what waits for that.
func (st *stream) grant(n uint32) {
	st.s.mu.Lock()
	const most = 1 << 30
	st.credit = min(st.credit+int64(n), most)
	feed, starved, muted := st.feed, st.starved, st.muted
	st.starved, st.muted = false, false
	st.s.mu.Unlock()
	if starved {
		feed.Resume()
	}
	if muted {
		feed.ResumeAudio()
	}
}

const (
	bytesPerSample = 2
	audioFrame     = 128     // more than a message has beside its samples
	leastPiece     = 4 << 10 // smaller pieces are sent only to peers with smaller windows
)

// Room implements [api.AudioSink].
func (st *stream) Room() int {
	s := st.s
	if s.conn.Buffered() > congested && s.conn.AskRoom(st.feed.ResumeAudio) {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.limited {
		return congested
	}
	room := int(st.credit-audioFrame) * 3 / 4 // as long as base64 makes it
	if room < st.least {
		st.muted = true
		return 0
	}
	return room
}

// Audio implements [api.AudioSink].
func (st *stream) Audio(p playback.Piece, samples []byte) {
	s := st.s
	b, err := s.pack(&reply{Stream: st.id, Audio: &audioReply{
		Segment: p.Segment, Chapter: p.Chapter, SampleRate: p.SampleRate, PCM: samples, Last: p.Last,
	}})
	if err != nil {
		return // the session has ended itself
	}
	s.mu.Lock()
	st.credit -= int64(len(b))
	s.mu.Unlock()
	s.write(b)
}

// Beat implements [api.Sink]: pings of the connection show that it lives.
func (st *stream) Beat() {}

// End implements [api.Sink].
func (st *stream) End(why *api.Answer) {
	status := http.StatusOK
	if why != nil {
		status = why.Status
		st.s.send(st.reply(why))
	}
	st.s.logCall(st.message(0), &api.Answer{Status: status}, nil)
	if st.s.live && st.id == liveStream {
		st.s.endLive(why, st.feed.Known())
	}
	st.s.done(st)
}

// leave ends the call because the client has left it.
func (st *stream) leave() {
	st.s.mu.Lock()
	if st.left {
		st.s.mu.Unlock()
		return
	}
	st.left = true
	told, cancel, feed := st.onClose, st.cancel, st.feed
	st.onClose = nil
	st.s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	for _, f := range told {
		f()
	}
	if feed != nil {
		feed.Stop()
	}
	if first := st.answered.CompareAndSwap(false, true); first || feed != nil {
		if first {
			st.s.k.metrics.of(st.s.protocol).end(st.call.Route, st.method, api.StatusLeft, time.Since(st.call.Started))
		}
		st.s.logCall(st.message(0), &api.Answer{Status: api.StatusLeft}, nil)
	}
	st.s.done(st)
}

var (
	_ api.Watchable = (*stream)(nil)
	_ api.Audible   = (*stream)(nil)
	_ api.AudioSink = (*stream)(nil)
)
