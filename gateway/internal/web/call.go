package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/inflate"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
)

// Call is one request, from its head to the line in the access log. Its memory serves
// one request after the other on an event loop, as that of [edge.Exchange] does; a
// call that has left the loop keeps it. One goroutine at a time uses it.
type Call struct {
	*edge.Exchange
	*http1.Request
	s      *Server
	caller operation.Caller
	clock  stage.Clock

	certificate auth.Hash // of the public key in the client's verified certificate; zero without one
	foreign     bool      // a web page asks, and none that the certificate may speak for
	traced      bool      // the trace is the client's
	begun       bool      // the handler has begun to answer

	route  *route // nil until one was found
	params [2]string
	plain  []byte // the body, if it came packed
	id     []byte // of the request

	lines  []byte
	fields [20]http1.Field
}

func (c *Call) reset(ex *edge.Exchange) {
	c.Exchange, c.Request, c.route, c.plain = ex, ex.Request(), nil, nil
	c.caller = operation.Caller{Started: ex.Started()}
	c.certificate, c.foreign, c.traced, c.begun = auth.Hash{}, false, false, false
	c.clock.Start(ex.Started())
}

// serve runs the call on a goroutine of its own.
func (c *Call) serve() {
	defer c.rescue()
	c.clock.Turn(stage.Work)
	c.finish(c.handle(stage.With(c.Context(), &c.clock)))
}

// handle finds the route, lets the caller in and calls the handler.
func (c *Call) handle(ctx context.Context) (*Answer, error) {
	if a, err := c.find(); a != nil || err != nil {
		return a, err
	}
	if !c.route.open {
		if err := c.admit(ctx); err != nil {
			return nil, err
		}
	}
	if c.route.early {
		return c.serveEarly(ctx)
	}
	if err := c.unpack(); err != nil {
		return nil, err
	}
	return c.route.serve(ctx, c)
}

// admit lets the caller in.
func (c *Call) admit(ctx context.Context) error {
	var ok bool
	if c.caller.Shown, ok = c.s.ops.Show(c.authorization(), c.certificate, nil); !ok {
		return problem.New(problem.Unauthorized, "Send an API key: Authorization: Bearer vm_…")
	}
	if c.foreign && c.caller.Shown.Certificate {
		return problem.New(problem.ForeignOrigin, "A page of this origin may not use the client certificate; --origins names those that may. With an API key in Authorization it needs none.")
	}
	return c.s.ops.Admit(ctx, &c.caller, c.route.scopes...)
}

// accessToken is the parameter that RFC 6750 section 2.3 has.
const accessToken = "access_token"

// authorization returns what the caller shows. A browser can set no field on a
// WebSocket or an EventSource, so their routes take the key from the query, too.
func (c *Call) authorization() []byte {
	field := c.Header("authorization")
	if field == nil && c.route.browser {
		q, err := url.ParseQuery(string(c.Query()))
		if err == nil && len(q[accessToken]) == 1 {
			return []byte("Bearer " + q.Get(accessToken))
		}
	}
	return field
}

// serveEarly calls a handler that reads the body while it arrives.
func (c *Call) serveEarly(ctx context.Context) (*Answer, error) {
	done, err := c.carry()
	if err != nil {
		return nil, err
	}
	defer done()
	return c.route.serve(ctx, c)
}

// unpack unpacks a body that came packed.
func (c *Call) unpack() error {
	if !strings.EqualFold(string(c.Header("content-encoding")), "gzip") || len(c.Request.Body()) == 0 {
		return nil
	}
	l := inflate.DefaultLimits()
	l.Bytes = int64(c.s.cfg.BodyBytes)
	body, err := inflate.Gzip(c.Request.Body(), l)
	if err != nil {
		return unpacking(err)
	}
	c.plain = body
	return nil
}

// unpacking says that the packing of a body is bad, if that is what err is.
func unpacking(err error) error {
	if job.KindOf(err) == job.Invalid {
		return &problem.Error{Slug: problem.BadRequest, Detail: job.PublicOf(err, ""), Err: err}
	}
	return err
}

// Body returns the body, unpacked once that was done.
func (c *Call) Body() []byte {
	if c.plain != nil {
		return c.plain
	}
	return c.Request.Body()
}

// trace notes the trace of a request that has one. What cannot be read, or came
// twice, is replaced by a trace of ours.
func (c *Call) trace() {
	field := c.Header("traceparent")
	if field == nil {
		return
	}
	if c.caller.Traceparent, c.traced = trace.Parent(field); !c.traced || len(c.values("traceparent")) > 1 {
		c.caller.Traceparent, c.traced = c.s.traces.Begin(), false
	}
}

// values returns the values of a field that may be repeated, list in one.
func (c *Call) values(name string) (all []string) {
	for n, v := range c.Headers() {
		if len(n) == len(name) && strings.EqualFold(string(n), name) {
			all = append(all, string(v))
		}
	}
	return all
}

func (c *Call) list(name string) string { return strings.Join(c.values(name), ",") }

// rescue ends a call whose handler panicked, and no other.
func (c *Call) rescue() {
	p := recover()
	if p == nil {
		return
	}
	c.s.dep.Log.LogAttrs(context.Background(), slog.LevelError, "handler panicked", //nolint:forbidigo // the request's context may have ended
		slog.Any("panic", p), slog.String("request_id", c.caller.RequestID), slog.String("stack", string(debug.Stack())))
	if c.begun {
		c.Abort()
		return
	}
	c.finish(nil, fmt.Errorf("handler panicked: %v", p))
}

// finish answers, unless the handler has, and puts down what became of the call.
func (c *Call) finish(a *Answer, err error) {
	if c.begun {
		return
	}
	gone := c.Gone()
	switch {
	case gone:
		a = &Answer{Status: c.left()}
	case a == nil && err == nil:
		err = errLeft
		fallthrough
	case err != nil:
		a = c.refusal(err)
	}
	status := a.Status
	body := a.bytes()
	took := time.Since(c.caller.Started)
	c.s.metrics.End(c.pattern(), c.Method(), status, took)
	c.Respond(http1.Response{Status: a.Status, Header: c.header(a), Body: body})
	c.log(&accesslog.Record{Status: status, Took: took, BytesOut: int64(len(body)), Events: -1, Problem: a.refusal, Stages: c.clock.Attr(took)})
}

// statusLeft is what the log says of a call whose client did not wait for the
// answer, as other servers do.
const statusLeft = 499

// left is the status of a call whose client is gone, or was told 503 because its
// time was up.
func (c *Call) left() int {
	if c.Overdue() {
		return http.StatusServiceUnavailable
	}
	return statusLeft
}

// refusal makes the answer that an error is.
func (c *Call) refusal(err error) *Answer {
	p := c.s.ops.Problem(err)
	d := p.Document(c.caller.RequestID)
	if c.route != nil && c.route.openAI {
		d.OpenAI = p.OpenAI(d)
	}
	return &Answer{Status: p.StatusCode(), ContentType: contentProblem, Problem: d, RetryAfter: p.RetryAfter(), refusal: p}
}

// log writes the line of the call in the access log, if that wants it.
func (c *Call) log(r *accesslog.Record) {
	if left, wanted := c.s.dep.Access.Wants(r.Status, r.Took, time.Now()); wanted {
		c.write(r, left)
	}
}

func (c *Call) write(r *accesslog.Record, left uint64) {
	if c.caller.RequestID == "" {
		c.caller.RequestID = string(c.id)
	}
	r.Caller, r.Method, r.Route, r.Path, r.BytesIn = &c.caller, c.Method(), c.pattern(), string(c.RawPath()), c.bytesIn()
	r.Peer = c.peer()
	c.s.dep.Access.Write(r, left)
}

// pattern returns the route as metrics and the log name it.
func (c *Call) pattern() string {
	if c.route == nil {
		return accesslog.NoRoute
	}
	return c.route.pattern
}
