package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Problem is a refusal of the server (RFC 9457). Its text is for people.
type Problem struct { //nolint:errname // RFC 9457 calls it a problem
	Type       string        `json:"type"` // such as /problems/not-found
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail"`
	RequestID  string        `json:"request_id"`
	Errors     []job.Fault   `json:"errors"`
	MoreErrors int           `json:"more_errors"` // that are not among Errors
	RetryAfter time.Duration `json:"-"`           // when the server wants to be asked again; 0 if it does not say
}

// Error returns what the server says, and every fault on a line of its own.
func (p *Problem) Error() string {
	var b strings.Builder
	switch {
	case len(p.Errors) == 1:
		b.WriteString(fault(p.Errors[0]))
	case len(p.Errors) > 1:
		fmt.Fprintf(&b, "%s:", p.Title)
		for _, f := range p.Errors {
			b.WriteString("\n  " + fault(f))
		}
		if p.MoreErrors > 0 {
			fmt.Fprintf(&b, "\n  and %d more", p.MoreErrors)
		}
	case p.Detail != "":
		b.WriteString(strings.TrimSuffix(p.Detail, "."))
	default:
		b.WriteString(p.Title)
	}
	if p.Status >= http.StatusInternalServerError && p.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", p.RequestID)
	}
	return b.String()
}

func fault(f job.Fault) string {
	if f.Pointer == "" {
		return f.Detail
	}
	return f.Pointer + ": " + f.Detail
}

// Kind returns the kind of failure, for code that branches.
func (p *Problem) Kind() job.Kind {
	switch p.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusMethodNotAllowed:
		return job.Invalid
	case http.StatusUnauthorized:
		return job.Unauthorized
	case http.StatusForbidden:
		return job.Forbidden
	case http.StatusNotFound, http.StatusGone:
		return job.NotFound
	case http.StatusConflict:
		return job.Conflict
	case http.StatusRequestEntityTooLarge:
		return job.TooLarge
	case http.StatusTooManyRequests:
		return job.Overloaded
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return job.Unavailable
	}
	return job.Internal
}

// problemOf reads a refusal. What is not a problem document, from a proxy
// perhaps, becomes one.
func problemOf(resp *http.Response) *Problem {
	p := &Problem{}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	media := resp.Header.Get("Content-Type")
	if err != nil || !strings.HasPrefix(media, "application/problem+json") || json.Unmarshal(raw, p) != nil {
		*p = Problem{Type: "about:blank", Detail: "The server answered " + resp.Status + "."}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	if p.RequestID == "" {
		p.RequestID = resp.Header.Get("X-Request-Id")
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
