package api

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/limit"
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
	Status      int // as in HTTP
	ContentType string
	Body        []byte
	ETag        string
	Location    string
	Allow       string        // methods of the resource
	Preference  string        // that was applied
	RetryAfter  time.Duration // positive: when to try again
	Err         error         // the reason, for the log only
}

// Call is a request on its way through the API.
type Call struct {
	Exchange
	RequestID   string
	Traceparent string // well-formed or empty
	Route       string // pattern, such as /v1/jobs/{id}; "none" until one matched
	Identity    auth.Identity
	Quota       limit.Verdict // what the caller may still do; zero while nobody is known
	Started     time.Time

	plain    []byte // the body, if it came packed
	params   [2]string
	detached bool
}

func (c *Call) detach() {
	if !c.detached {
		c.detached = true
		c.Detach()
	}
}

// Body returns the body, unpacked once that was done.
func (c *Call) Body() []byte {
	if c.plain != nil {
		return c.plain
	}
	return c.Exchange.Body()
}
