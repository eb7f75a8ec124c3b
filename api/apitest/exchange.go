package apitest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// exchange is one request and what the contract says of it.
type exchange struct {
	c      *Contract
	req    *http.Request
	sent   []byte // the body, if it is one that can be checked
	route  *routers.Route
	params map[string]string
}

func (c *Contract) exchange(req *http.Request, sent []byte) *exchange {
	x := &exchange{c: c, req: req, sent: sent}
	var err error
	if x.route, x.params, err = c.find(req); err != nil {
		x.route = nil
	}
	return x
}

// checkHead checks all of an exchange but the answer's body, and returns what the
// body must be: nil if there must be none.
func (x *exchange) checkHead(ctx context.Context, status int, h http.Header) (*openapi3.MediaType, error) {
	described, err := x.described(status)
	if err != nil {
		return nil, err
	}
	if x.route != nil && status < http.StatusBadRequest {
		if err := x.checkRequest(ctx); err != nil {
			return nil, fmt.Errorf("the server took a request that the contract does not allow: %w", err)
		}
	}
	if err := x.c.checkFields(described, h); err != nil {
		return nil, err
	}
	return mediaOf(described, h.Get("Content-Type"))
}

// described finds the response that the contract has for a status.
func (x *exchange) described(status int) (*openapi3.Response, error) {
	code := strconv.Itoa(status)
	if x.route != nil {
		if r := x.route.Operation.Responses.Value(code); r != nil {
			return r.Value, nil
		}
	} else if r := x.c.unrouted[code]; r != nil {
		return r, nil
	}
	if r := x.c.unreadable[code]; r != nil {
		return r, nil
	}
	return nil, errors.New("the contract has no such answer")
}

// checkRequest holds a request that was taken against the contract.
func (x *exchange) checkRequest(ctx context.Context) error {
	again := x.req.Clone(ctx) // kin-openapi writes defaults into it
	again.Body = http.NoBody
	options := &openapi3filter.Options{
		ExcludeRequestBody: true, MultiError: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	in := &openapi3filter.RequestValidationInput{Request: again, PathParams: x.params, Route: x.route, Options: options}
	if err := openapi3filter.ValidateRequest(ctx, in); err != nil {
		return fmt.Errorf("%w", err)
	}
	for name := range x.req.URL.Query() {
		if x.parameter(openapi3.ParameterInQuery, name) == nil && !x.secures(name) {
			return fmt.Errorf("the query parameter %q is not described", name)
		}
	}
	return x.checkSent()
}

func (x *exchange) parameter(in, name string) *openapi3.Parameter {
	if p := x.route.Operation.Parameters.GetByInAndName(in, name); p != nil {
		return p
	}
	return x.route.PathItem.Parameters.GetByInAndName(in, name)
}

// secures reports whether a query parameter is a credential of the operation.
func (x *exchange) secures(name string) bool {
	if x.route.Operation.Security == nil {
		return false
	}
	for _, requirement := range *x.route.Operation.Security {
		for scheme := range requirement {
			s := x.c.doc.Components.SecuritySchemes[scheme].Value
			if s.In == openapi3.ParameterInQuery && s.Name == name {
				return true
			}
		}
	}
	return false
}

// checkSent holds the request's body against the contract.
func (x *exchange) checkSent() error {
	if x.route.Operation.RequestBody == nil {
		if len(x.sent) > 0 {
			return errors.New("it has a body, and none is described")
		}
		return nil
	}
	body := x.route.Operation.RequestBody.Value
	if x.sent == nil && x.req.Body == nil && !body.Required {
		return nil
	}
	field := x.req.Header.Get("Content-Type")
	media := body.Content.Get(field)
	if media == nil {
		return fmt.Errorf("a body of the type %q is not described", field)
	}
	if !checkable(field) {
		return nil
	}
	plain, err := unpacked(x.sent, x.req.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	return x.c.checkBody(media, plain)
}

func unpacked(b []byte, coding string) ([]byte, error) {
	if coding != "gzip" {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("unpack the body: %w", err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpack the body: %w", err)
	}
	return plain, nil
}

// transport are header fields that belong to HTTP and not to the API.
func transport(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Content-Type", "Date", "Keep-Alive":
		return true
	}
	return false
}

// checkFields checks that every field is described and has a value that is
// allowed, and that none is missing.
func (c *Contract) checkFields(r *openapi3.Response, h http.Header) error {
	for name, values := range h {
		if transport(name) {
			continue
		}
		described := field(r.Headers, name)
		if described == nil {
			described = field(c.headers, name)
		}
		if described == nil {
			return fmt.Errorf("the header field %s: %s is not described", name, strings.Join(values, ", "))
		}
		for _, value := range values {
			if err := checkField(described, value); err != nil {
				return fmt.Errorf("the header field %s: %w", name, err)
			}
		}
	}
	for name, described := range r.Headers {
		if described.Value.Required && len(h.Values(name)) == 0 {
			return fmt.Errorf("the header field %s is missing", name)
		}
	}
	return nil
}

func field(list openapi3.Headers, name string) *openapi3.Header {
	for known, ref := range list {
		if textproto.CanonicalMIMEHeaderKey(known) == name {
			return ref.Value
		}
	}
	return nil
}

func checkField(described *openapi3.Header, text string) error {
	if described.Schema == nil {
		return nil
	}
	schema, value := described.Schema.Value, any(text)
	if schema.Type.Is(openapi3.TypeInteger) {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		value = n
	}
	if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	return nil
}

// mediaOf finds the description of an answer's body.
func mediaOf(r *openapi3.Response, contentType string) (*openapi3.MediaType, error) {
	if len(r.Content) == 0 {
		if contentType != "" {
			return nil, fmt.Errorf("a body of the type %q is not described", contentType)
		}
		return nil, nil
	}
	media := r.Content.Get(contentType)
	if media == nil {
		return nil, fmt.Errorf("a body of the type %q is not described", contentType)
	}
	return media, nil
}

// checkable reports whether bodies of a type are JSON or lines of it. Others are
// bytes to the contract.
func checkable(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json") || lined(contentType))
}

// lined reports whether a body is one JSON value on each line.
func lined(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/x-ndjson" || kind == "application/jsonl")
}

// checkBody checks a whole body.
func (c *Contract) checkBody(media *openapi3.MediaType, body []byte) error {
	item, err := c.item(media)
	if err != nil {
		return err
	}
	if item == nil {
		if media.Schema == nil {
			return nil
		}
		return match(media.Schema.Value, body)
	}
	for line := range bytes.Lines(body) {
		if err := match(item, line); err != nil {
			return err
		}
	}
	return nil
}

// item returns the schema of one event or line of a stream, or nil.
func (c *Contract) item(media *openapi3.MediaType) (*openapi3.Schema, error) {
	raw, ok := media.Extensions[extItem]
	if !ok {
		return nil, nil
	}
	m, _ := raw.(map[string]any)
	ref, _ := m["$ref"].(string)
	s := c.doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	if s == nil {
		return nil, fmt.Errorf("%s: %q is no schema of the contract", extItem, ref)
	}
	return s.Value, nil
}
