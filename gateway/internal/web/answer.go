package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
)

// Answer is what a handler answers with.
type Answer struct {
	Status       int
	ContentType  string
	Body         []byte            // unless it is one of the two that follow
	Job          *jobdoc.Document  // the body
	Problem      *problem.Document // the body
	ETag         string
	Location     string
	Allow        string        // methods of the resource
	Preference   string        // that was applied
	AcceptRanges bool          // parts of the resource may be asked for
	ContentRange string        // which part the body is
	Disposition  string        // what a browser does with the body
	RetryAfter   time.Duration // positive: when to try again

	refusal *problem.Error // for the log; nil if the call succeeded
}

const (
	contentJSON    = "application/json"
	contentProblem = "application/problem+json"
)

// reply answers with v as JSON.
func reply(status int, v any) *Answer {
	return &Answer{Status: status, ContentType: contentJSON, Body: encode(v)}
}

func (a *Answer) bytes() []byte {
	switch {
	case a.Body != nil || a.Status == http.StatusNotModified:
		return a.Body
	case a.Job != nil:
		return encode(a.Job)
	case a.Problem != nil:
		return encode(a.Problem)
	}
	return nil
}

// encode writes v as a line of JSON.
func encode(v any) []byte { return append(operation.Encode(v), '\n') }

// header returns the fields of an answer.
func (c *Call) header(a *Answer) []http1.Field {
	f := c.fields[:0]
	add := func(name, value string) {
		if value != "" {
			f = append(f, http1.Field{Name: name, Value: value})
		}
	}
	add("Content-Type", a.ContentType)
	add("X-Request-Id", string(c.id))
	add("Traceparent", c.caller.Traceparent)
	add("ETag", a.ETag)
	add("Location", a.Location)
	add("Allow", a.Allow)
	if a.AcceptRanges {
		add("Accept-Ranges", "bytes")
	}
	add("Content-Range", a.ContentRange)
	add("Content-Disposition", a.Disposition)
	add("Preference-Applied", a.Preference)
	if a.RetryAfter > 0 {
		add("Retry-After", seconds(a.RetryAfter))
	}
	if a.Status == http.StatusUnauthorized {
		add("WWW-Authenticate", `Bearer realm="voicemill"`)
	}
	if q := &c.caller.Quota; q.Quota != limit.None {
		var value [64]byte
		add("RateLimit", string(q.AppendField(value[:0])))
		add("RateLimit-Policy", c.s.cfg.Policy)
	}
	c.cors(add, a.Status, a.Allow)
	if a.Status == http.StatusUpgradeRequired {
		add("Upgrade", "websocket")
		add("Sec-WebSocket-Version", "13")
	}
	if c.caller.Tenant != "" {
		add("Cache-Control", "private, no-cache")
	}
	return f
}

// seconds spells a wait so that nobody comes back too early.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((max(0, d)+time.Second-1)/time.Second), 10)
}
