package session

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// call is what one message asked for, until it is answered. One goroutine at a time
// uses it, but for what is under s.mu.
type call struct {
	s       *session
	id      uint32 // of its stream
	request *request
	caller  operation.Caller
	clock   stage.Clock

	method, route, path string // as over HTTP, for metrics and the access log

	ctx    context.Context //nolint:containedctx // of the goroutine that serves it
	cancel context.CancelFunc
	begun  bool // a watch that has begun was answered

	// Under s.mu.
	left bool // the client has left the call

	*watching // of a call that is a watch; nil for others
}

// call makes the call that a message asks for.
func (s *session) call(r *request) *call {
	c := &call{s: s, id: r.Stream, request: r, caller: operation.Caller{Shown: s.opener.Shown, Started: time.Now()}}
	c.clock.Start(c.caller.Started)
	if r.Watch != nil {
		c.watching = &watching{more: lifecycle.NewSignal(), louder: lifecycle.NewSignal()}
	}
	if m := r.Submit; m != nil {
		if accesslog.GoodRequestID(m.RequestID) {
			c.caller.RequestID = m.RequestID
		}
		c.trace(m.Traceparent, m.Tracestate)
	}
	if c.caller.RequestID == "" {
		c.caller.RequestID = s.srv.ids.Next()
	}
	return c
}

// trace notes the trace that a client names. What cannot be read is replaced by a
// trace of ours.
func (c *call) trace(parent, state string) {
	if parent == "" {
		return
	}
	var ok bool
	if c.caller.Traceparent, ok = trace.Parent([]byte(parent)); !ok {
		c.caller.Traceparent = c.s.srv.traces.Begin()
		return
	}
	c.caller.Tracestate = trace.State(state)
}

// named notes what the call is over HTTP. It reports false if the message asks for
// none.
func (c *call) named() bool {
	c.method = http.MethodGet
	switch r := c.request; {
	case r.Submit != nil:
		c.method, c.route, c.path = http.MethodPost, accesslog.SubmitRoute, accesslog.SubmitRoute
	case r.Get != nil:
		c.route, c.path = accesslog.StatusRoute, accesslog.SubmitRoute+"/"+url.PathEscape(r.Get.ID)
	case r.Watch != nil:
		c.route, c.path = accesslog.EventsRoute, accesslog.SubmitRoute+"/"+url.PathEscape(r.Watch.ID)+"/events"
	case r.Cancel != nil:
		c.method, c.route, c.path = http.MethodPost, accesslog.CancelRoute, accesslog.SubmitRoute+"/"+url.PathEscape(r.Cancel.ID)+"/cancel"
	case r.Hello != nil:
		c.route, c.path = accesslog.ConnectRoute, accesslog.ConnectRoute
	default:
		return false
	}
	return true
}

// begin answers from memory, or serves the call on a goroutine of its own.
func (c *call) begin() {
	if get := c.request.Get; get != nil && !get.waits() {
		if d := c.s.srv.ops.Kept(&c.caller, []byte(get.ID)); d != nil {
			c.finish(&reply{Job: d.Job}, nil)
			return
		}
	}
	c.ctx, c.cancel = context.WithCancel(c.s.conn.Context())
	if err := c.s.srv.dep.Pool.Go(c.serve); err != nil {
		c.finish(nil, err)
	}
}

func (c *call) serve() {
	defer c.rescue()
	c.clock.Turn(stage.Work)
	c.finish(c.handle(stage.With(c.ctx, &c.clock)))
}

// rescue ends a call that panicked, and no other.
func (c *call) rescue() {
	if p := recover(); p != nil {
		c.s.srv.panicked(p, c.caller.RequestID)
		c.finish(nil, fmt.Errorf("handler panicked: %v", p))
	}
}

// handle does what the message asks for. It returns nil if that was answered.
func (c *call) handle(ctx context.Context) (*reply, error) {
	switch r := c.request; {
	case r.Submit != nil:
		return c.submit(ctx, r.Submit)
	case r.Get != nil:
		return c.get(ctx, r.Get)
	case r.Cancel != nil:
		return c.cancelJob(ctx, r.Cancel)
	}
	return nil, c.watch(ctx, c.request.Watch)
}

func (c *call) submit(ctx context.Context, m *submitRequest) (*reply, error) {
	if err := c.s.srv.ops.Admit(ctx, &c.caller, auth.JobsWrite); err != nil {
		return nil, err
	}
	s, err := c.submission(m)
	if err != nil {
		return nil, err
	}
	done, err := c.s.srv.ops.Submit(ctx, &c.caller, s)
	if err != nil {
		return nil, err
	}
	return &reply{Accepted: &acceptedReply{Job: &done.Job, RequestID: c.caller.RequestID}}, nil
}

// submission reads what is submitted.
func (c *call) submission(m *submitRequest) (*operation.Submission, error) {
	var s operation.Submission
	if m.spec != nil {
		s.Spec = *m.spec
	} else {
		var err error
		s.Faults, err = c.s.srv.specs.Decode(m.Spec, &s.Spec)
		if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
			return nil, problem.New(problem.NotJSON, "The body is "+syntax.Error()+".")
		}
	}
	if m.IdempotencyKey != "" {
		s.Once = operation.Once{
			Given: true, Key: m.IdempotencyKey, Request: sha256.Sum256(append([]byte(c.method+" "+c.route+"\n"), m.text()...)),
		}
	}
	return &s, nil
}

// text tells one submit from another. That of a frame is its spec as JSON, whatever
// order a client gives its labels.
func (m *submitRequest) text() []byte {
	if m.spec == nil {
		return m.Spec
	}
	b, err := json.Marshal(m.spec)
	if err != nil {
		return nil // a spec that is not a number somewhere, which is refused
	}
	return b
}

// waits reports whether the answer may have to wait for the job.
func (m *getRequest) waits() bool { return m.WaitSeconds > 0 || m.AfterVersion > 0 }

func (c *call) get(ctx context.Context, m *getRequest) (*reply, error) {
	if err := c.s.srv.ops.Admit(ctx, &c.caller, auth.JobsRead); err != nil {
		return nil, err
	}
	if !m.waits() {
		d, err := c.s.srv.ops.Get(ctx, &c.caller, job.ID(m.ID))
		if err != nil {
			return nil, err
		}
		return &reply{Job: d.Job}, nil
	}
	known := `W/"` + strconv.FormatUint(m.AfterVersion, 10) + `"`
	d, err := c.s.srv.ops.Poll(ctx, &c.caller, job.ID(m.ID), time.Duration(m.WaitSeconds)*time.Second, func(tag string) bool { return tag == known })
	if err != nil {
		return nil, err
	}
	return &reply{Job: d}, nil
}

func (c *call) cancelJob(ctx context.Context, m *cancelRequest) (*reply, error) {
	if err := c.s.srv.ops.Admit(ctx, &c.caller, auth.JobsWrite); err != nil {
		return nil, err
	}
	d, err := c.s.srv.ops.Cancel(ctx, &c.caller, job.ID(m.ID))
	if err != nil {
		return nil, err
	}
	return &reply{Job: d}, nil
}

// finish answers, unless the client has left, and puts down what became of the call.
func (c *call) finish(r *reply, err error) {
	if c.begun {
		return
	}
	record := accesslog.Record{Status: http.StatusOK}
	gone := c.gone()
	switch {
	case gone:
		record.Status = statusLeft
	case err != nil:
		record.Problem = c.s.srv.ops.Problem(err)
		record.Status = record.Problem.StatusCode()
		r = c.refusal(record.Problem)
	case r.Accepted != nil:
		record.Status = http.StatusAccepted
	}
	record.Took = time.Since(c.caller.Started)
	c.s.metrics.End(c.route, c.method, record.Status, record.Took)
	if !gone {
		r.Stream = c.id
		record.BytesOut = int64(c.s.answer(c, r))
		record.Stages = c.clock.Attr(record.Took)
	}
	c.log(&record)
	c.over()
	if record.Problem != nil && c.s.live && c.id == liveStream {
		c.s.refuseLive(record.Problem)
	}
}

// statusLeft is what the log says of a call whose client did not wait for the answer.
const statusLeft = 499

// over frees what the call holds.
func (c *call) over() {
	if c.cancel != nil {
		c.cancel()
	}
	c.s.done(c)
}

// gone reports whether the client has left the call, or its connection has gone.
func (c *call) gone() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.left || c.ctx != nil && c.ctx.Err() != nil
}

// leave ends the call because the client has left it. Its stream is free at once.
func (c *call) leave() {
	c.s.mu.Lock()
	c.left = true
	c.s.forgetLocked(c)
	c.s.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *call) refusal(p *problem.Error) *reply {
	return &reply{Stream: c.id, Problem: &problemReply{Document: p.Document(c.caller.RequestID), RetryAfterSeconds: seconds(p.RetryAfter())}}
}

// seconds spells a wait so that nobody comes back too early; 0 is none.
func seconds(d time.Duration) uint32 {
	return uint32((max(0, d) + time.Second - 1) / time.Second) //nolint:gosec // waits are of hours at most
}

// log writes the line of the call in the access log, if that wants it.
func (c *call) log(r *accesslog.Record) {
	left, wanted := c.s.srv.dep.Access.Wants(r.Status, r.Took, time.Now())
	if !wanted {
		return
	}
	r.Peer, r.Caller, r.Method, r.Route, r.Path, r.BytesIn = &c.s.peer, &c.caller, c.method, c.route, c.path, int64(c.request.bytes)
	c.s.srv.dep.Access.Write(r, left)
}
