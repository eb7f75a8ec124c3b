package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Problem is an error answer of the server (RFC 9457).
type Problem struct { //nolint:errname // it is a problem document
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	RequestID string      `json:"request_id"`
	Errors    []job.Fault `json:"errors,omitempty"`

	RetryAfter time.Duration `json:"-"`
}

// Error returns the title and the detail.
func (p *Problem) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%s: %s", p.Title, p.Detail), ": ")
}

// Client makes calls. It is safe for concurrent use.
type Client struct {
	Base string // such as http://127.0.0.1:7860
	Key  string
	HTTP *http.Client
}

// Request is one call. In, if any, is sent as JSON; the answer goes into Out.
type Request struct {
	Method, Path string
	Header       http.Header
	In, Out      any
}

const (
	maxAnswer  = 64 << 20 // a job of 20,000 chapters has some 10 MB
	tries      = 4
	firstPause = 300 * time.Millisecond
	maxPause   = 8 * time.Second
)

// Do makes the call, up to four times while the server is away or overloaded.
// Calls that change something carry an Idempotency-Key or may be repeated.
func (c *Client) Do(ctx context.Context, r Request) (status int, header http.Header, err error) {
	pause := firstPause
	for try := 1; ; try++ {
		status, header, err = c.Once(ctx, r)
		if err == nil || try == tries || !Away(err) || ctx.Err() != nil {
			return status, header, err
		}
		wait := pause/2 + rand.N(pause/2+1)
		if p, ok := errors.AsType[*Problem](err); ok {
			wait = max(wait, min(p.RetryAfter, maxPause))
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-time.After(wait):
		}
		pause = min(2*pause, maxPause)
	}
}

// Once makes the call and does not try again.
func (c *Client) Once(ctx context.Context, r Request) (int, http.Header, error) {
	var body io.Reader
	if r.In != nil {
		b, err := json.Marshal(r.In)
		if err != nil {
			return 0, nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.Base+r.Path, body)
	if err != nil {
		return 0, nil, fmt.Errorf("make the request: %w", err)
	}
	maps.Copy(req.Header, r.Header)
	if r.In != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if resp.StatusCode >= 400 {
		return resp.StatusCode, resp.Header, ReadProblem(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	if r.Out != nil && len(b) > 0 {
		if err := json.Unmarshal(b, r.Out); err != nil {
			return 0, nil, fmt.Errorf("the server at %s does not answer like voicemill: %w", c.Base, err)
		}
	}
	return resp.StatusCode, resp.Header, nil
}

// ReadProblem turns an answer of 400 or more into a *Problem, also when
// something between here and the server made it up.
func ReadProblem(resp *http.Response) error {
	p := &Problem{}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if json.Unmarshal(b, p) != nil || p.Title == "" {
		p = &Problem{Title: "the server answered " + resp.Status}
	}
	p.Status = resp.StatusCode
	if p.RequestID == "" {
		p.RequestID = resp.Header.Get("X-Request-Id")
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}

// Away reports whether err says that the server cannot be reached or has no
// room now, so that the same call may work later.
func Away(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == 429 || p.Status == 502 || p.Status == 503 || p.Status == 504
	}
	return Unreachable(err)
}
