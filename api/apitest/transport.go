package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
)

// ContractError is an exchange that is not as the contract says.
type ContractError struct {
	Method, Path string
	Status       int // of the answer
	Err          error
}

// Error says what was asked, what came back, and what is wrong with it.
func (e *ContractError) Error() string {
	return fmt.Sprintf("%s %s, answered %d: not as the contract says: %v", e.Method, e.Path, e.Status, e.Err)
}

// Unwrap returns what is wrong.
func (e *ContractError) Unwrap() error { return e.Err }

// Transport checks what passes through it. An exchange that is not as the
// contract says fails with a *[ContractError] instead of its answer; a stream, when
// the item that is wrong is read. It is safe for concurrent use.
type Transport struct {
	Contract *Contract
	Base     http.RoundTripper        // makes the requests; nil means http.DefaultTransport
	Of       func(*http.Request) bool // whether a request is one to the API; nil means every one
	Report   func(violation error)    // is told of each violation besides; may be nil
}

// maxBody bounds the bodies that are read whole.
const maxBody = 256 << 20

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if t.Of != nil && !t.Of(req) {
		return base.RoundTrip(req)
	}
	var sent []byte
	if req.Body != nil && req.Body != http.NoBody && checkable(req.Header.Get("Content-Type")) {
		var err error
		sent, err = io.ReadAll(io.LimitReader(req.Body, maxBody))
		if err = errors.Join(err, req.Body.Close()); err != nil {
			return nil, fmt.Errorf("apitest: read the request: %w", err)
		}
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(sent))
		req = again
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := t.check(req.Context(), req, sent, resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// check checks an exchange up to the answer's body, and that, too, unless it is a
// stream: its items are checked as they are read.
func (t *Transport) check(ctx context.Context, req *http.Request, sent []byte, resp *http.Response) error {
	fail := func(err error) error {
		v := &ContractError{Method: req.Method, Path: req.URL.EscapedPath(), Status: resp.StatusCode, Err: err}
		if t.Report != nil {
			t.Report(v)
		}
		return v
	}
	x := t.Contract.exchange(req, sent)
	media, err := x.checkHead(ctx, resp.StatusCode, resp.Header)
	if err != nil {
		return fail(err)
	}
	kind := resp.Header.Get("Content-Type")
	if req.Method == http.MethodHead || resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if media == nil {
		return t.empty(resp, fail)
	}
	item, err := t.Contract.item(media)
	if err != nil {
		return fail(err)
	}
	switch {
	case item != nil:
		resp.Body = &items{ReadCloser: resp.Body, schema: item, lined: lined(kind), fail: fail}
		return nil
	case !checkable(kind):
		return nil
	}
	return t.whole(resp, media, fail)
}

// empty checks that there is no body.
func (t *Transport) empty(resp *http.Response, fail func(error) error) error {
	var one [1]byte
	if n, err := resp.Body.Read(one[:]); n > 0 {
		return fail(errors.New("it has a body, and none is described"))
	} else if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("apitest: read the answer: %w", err)
	}
	return nil
}

// whole reads and checks a body and puts it back.
func (t *Transport) whole(resp *http.Response, media *openapi3.MediaType, fail func(error) error) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("apitest: read the answer: %w", err)
	}
	if err := t.Contract.checkBody(media, body); err != nil {
		return fail(err)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("apitest: end the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// items checks each item of a stream as it is read.
type items struct {
	io.ReadCloser
	schema *openapi3.Schema
	lined  bool
	fail   func(error) error

	part []byte // of a line that is not whole
	bad  error
}

// Read implements [io.Reader].
func (s *items) Read(p []byte) (int, error) {
	if s.bad != nil {
		return 0, s.bad
	}
	n, err := s.ReadCloser.Read(p)
	s.part = append(s.part, p[:n]...)
	for s.bad == nil {
		line, rest, whole := bytes.Cut(s.part, []byte{'\n'})
		if !whole {
			break
		}
		if bad := s.line(line); bad != nil {
			s.bad = s.fail(bad)
		}
		s.part = rest
	}
	if errors.Is(err, io.EOF) && len(s.part) > 0 && s.bad == nil {
		s.bad = s.fail(fmt.Errorf("the stream ends in a line: %.200q", s.part))
	}
	if s.bad != nil {
		return n, s.bad
	}
	return n, err
}

// line checks one line: of JSON, or of server-sent events.
func (s *items) line(b []byte) error {
	if s.lined {
		return match(s.schema, b)
	}
	name, value, _ := bytes.Cut(b, []byte(": "))
	switch string(name) {
	case "data":
		return match(s.schema, value)
	case "", ":", "id", "event", "retry":
		return nil
	}
	return fmt.Errorf("%.200q is no line of an event", b)
}
