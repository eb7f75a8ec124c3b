package api

import (
	"context"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/job"
)

// Exchange is one request and the way back to whoever sent it. All methods may
// be called on any goroutine after Detach.
type Exchange interface {
	Method() string
	RawPath() []byte // percent-encoded
	Query() []byte   // encoded, without the question mark
	Header(name string) []byte
	Body() []byte
	// Detach is called on the goroutine of Serve, once, before another one reads the request.
	Detach()
	// Context ends when the client goes away or was answered.
	Context() context.Context
	// OnClose asks for f to be called if the client goes away unanswered.
	OnClose(f func())
	// Reply answers. It is called once and does not keep the answer.
	Reply(a *Answer)
}

// Answer is what a call leads to, in words that every carrier can say.
type Answer struct {
	Status       int // as in HTTP
	ContentType  string
	Kept         bool             // Body and Job are from the cache of documents; they must not be changed
	Body         []byte           // unless it is one of the two that follow
	Job          *jobdoc.Document // the body; of a 304: what has not changed
	Problem      *Problem         // the body
	ETag         string
	Location     string
	Allow        string        // methods of the resource
	Preference   string        // that was applied
	AcceptRanges bool          // parts of the resource may be asked for
	ContentRange string        // which part the body is
	Disposition  string        // what a browser does with the body
	RetryAfter   time.Duration // positive: when to try again
	Err          error         // the reason, for the log only
}

// Bytes returns the body: Body, or Job or Problem as JSON.
func (a *Answer) Bytes() []byte {
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

// Call is a request on its way through the API.
type Call struct {
	Exchange
	RequestID   string
	Traceparent string // well-formed or empty
	Tracestate  string // likewise; only with the client's own Traceparent
	Route       string // pattern, such as /v1/jobs/{id}; "none" until one matched
	Identity    auth.Identity
	Quota       limit.Verdict // what the caller may still do; zero while nobody is known
	Started     time.Time
	Certificate auth.Hash // of the public key in the client's verified certificate; zero without one
	Foreign     bool      // a web page asks, and none that the certificate may speak for
	Key         auth.Hash // of what the caller shows, if the carrier knows it; else the Authorization field tells
	Token       []byte    // with Key: the access token whose hash that is, nil for an API key or a certificate
	Spec        *job.Spec // of a submit, if the carrier has read it; else the body is JSON

	openAI bool       // problems carry what clients of OpenAI's API read, too
	code   string     // of such a problem; "" for what its slug says
	Memo   *auth.Memo // of the goroutine that calls ServeKept; may be nil

	plain    []byte     // the body, if it came packed
	stream   Streamable // the exchange, on a route that streams
	params   [2]string
	detached bool
	counted  bool // Quota was asked for
	clock    clock
	kept     Answer // from memory, so that it needs no other
}

// Reset makes the call ready for another request.
func (c *Call) Reset() { *c = Call{} }

func (c *Call) detach() {
	if !c.detached {
		c.detached = true
		c.Detach()
	}
}

// Reply answers.
func (c *Call) Reply(a *Answer) {
	if c.openAI && a.Problem != nil {
		a.Problem.OpenAI = openAIError(a.Problem, c.code)
	}
	c.Exchange.Reply(a)
}

// Body returns the body, unpacked once that was done.
func (c *Call) Body() []byte {
	if c.plain != nil {
		return c.plain
	}
	return c.Exchange.Body()
}
