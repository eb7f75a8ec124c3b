package web

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/problem"
)

// route is one row of the table: what to do for a method on a pattern.
type route struct {
	method  string
	pattern string
	scopes  []auth.Scope // any of them
	browser bool         // the key may come in the query
	openAI  bool         // its clients are those of OpenAI's API
	early   bool         // serve reads the body while it arrives
	open    bool         // serve needs no key
	serve   func(ctx context.Context, c *Call) (*Answer, error)

	parts []string // of the pattern; "" takes any one part
}

func routes() []route {
	read, write, admin := []auth.Scope{auth.JobsRead}, []auth.Scope{auth.JobsWrite}, []auth.Scope{auth.Admin}
	table := []route{
		{method: "POST", pattern: "/v1/jobs", scopes: write, serve: submitJob},
		{method: "POST", pattern: "/v1/jobs:batch", scopes: write, early: true, serve: submitBatch},
		{method: "GET", pattern: "/v1/jobs/{id}", scopes: read, serve: getJob},
		{method: "GET", pattern: "/v1/jobs", scopes: read, serve: listJobs},
		{method: "POST", pattern: "/v1/jobs/{id}/cancel", scopes: write, serve: cancelJob},
		{method: "POST", pattern: "/v1/jobs/{id}/deliver", scopes: write, serve: deliverJob},
		{method: "GET", pattern: "/v1/jobs/{id}/segments", scopes: read, serve: listSegments},
		{method: "GET", pattern: "/v1/jobs/{id}/artifacts/{name}", scopes: read, serve: getArtifact},
		{method: "GET", pattern: "/v1/jobs/{id}/timeline", scopes: read, serve: getTimeline},
		{method: "GET", pattern: "/v1/jobs/{id}/events", scopes: read, browser: true, serve: watchJob},
		{method: "GET", pattern: "/v1/jobs/{id}/live", scopes: read, browser: true, serve: live},
		{method: "GET", pattern: "/v1/connect", scopes: auth.Scopes(), browser: true, serve: connect},
		{method: "POST", pattern: "/v1/uploads", scopes: write, serve: createUpload},
		{method: "PUT", pattern: "/v1/uploads/{id}/content", scopes: write, early: true, serve: putContent},
		{method: "POST", pattern: "/v1/audio/speech", scopes: write, openAI: true, serve: speak},
		{method: "GET", pattern: "/v1/voices", scopes: []auth.Scope{auth.JobsRead, auth.JobsWrite}, serve: listVoices},
		{method: "GET", pattern: "/v1/keys", scopes: admin, serve: listKeys},
		{method: "POST", pattern: "/v1/keys", scopes: admin, serve: createKey},
		{method: "DELETE", pattern: "/v1/keys/{id}", scopes: admin, serve: revokeKey},
		{method: "GET", pattern: "/v1/buckets", scopes: auth.Scopes(), serve: listBuckets},
		{method: "POST", pattern: "/v1/buckets", scopes: admin, serve: createBucket},
		{method: "GET", pattern: "/v1/buckets/{id}", scopes: auth.Scopes(), serve: getBucket},
		{method: "PUT", pattern: "/v1/buckets/{id}", scopes: admin, serve: replaceBucket},
		{method: "DELETE", pattern: "/v1/buckets/{id}", scopes: admin, serve: deleteBucket},
		{method: "GET", pattern: "/problems/{slug}", open: true, serve: problemPage},
		{method: "GET", pattern: "/v1/callbacks/secret", scopes: admin, serve: callbackSecret},
		{method: "GET", pattern: "/v1/signing-keys", scopes: auth.Scopes(), serve: listSigningKeys},
	}
	for i := range table {
		for part := range strings.SplitSeq(table[i].pattern[1:], "/") {
			if strings.HasPrefix(part, "{") {
				part = ""
			}
			table[i].parts = append(table[i].parts, part)
		}
	}
	return table
}

// Routes lists the patterns of all calls, as "METHOD pattern".
func Routes() []string {
	var list []string
	for _, r := range routes() {
		list = append(list, r.method+" "+r.pattern)
	}
	return list
}

// find finds the route of a call and fills its parameters, or returns what to answer
// without one. The path "*" is the whole server (RFC 9112 section 3.2.4) and has the
// methods of every path.
func (c *Call) find() (*Answer, error) {
	r, allow := find(c.s.table, c.Method(), c.RawPath(), &c.params)
	c.route = r
	switch {
	case r != nil && allow == nil:
		return nil, nil //nolint:nilnil // there is nothing to answer yet
	case !recognised(c.Method()):
		return nil, problem.New(problem.NotImplemented, "No resource has this method.")
	case len(allow) == 0:
		return nil, problem.New(problem.NotFound, "There is nothing at this path.")
	}
	list := strings.Join(append(allow, http.MethodOptions), ", ")
	if c.Method() == http.MethodOptions {
		return &Answer{Status: http.StatusNoContent, Allow: list}, nil
	}
	a := c.refusal(problem.New(problem.MethodNotAllowed, "This resource has "+list+"."))
	a.Allow = list
	return a, nil
}

// find returns the route that a path has for a method. If it has others only, it
// returns one of these and lists them in allow.
func find(table []route, method string, path []byte, params *[2]string) (r *route, allow []string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range table {
		t := &table[i]
		switch {
		case string(path) == "*":
			allow = append(allow, t.method)
		case !t.match(path):
		case t.method != method:
			r, allow = t, append(allow, t.method)
		case !t.fill(path, params):
			return nil, nil
		default:
			return t, nil
		}
	}
	if slices.Contains(allow, "GET") {
		allow = append(allow, "HEAD")
	}
	slices.Sort(allow)
	return r, slices.Compact(allow)
}

// recognised reports whether a method is one that HTTP has (RFC 9110 section
// 9.3, RFC 5789, and QUERY of the draft for safe methods with a body), so that a resource may have it or not. Methods are
// case-sensitive.
func recognised(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace, "QUERY":
		return true
	}
	return false
}

// match compares part by part. It allocates only for a part that is
// percent-encoded where the pattern has a word.
func (r *route) match(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	path = path[1:]
	for i, want := range r.parts {
		part, rest, more := bytes.Cut(path, slash)
		if more == (i == len(r.parts)-1) || (want == "" && len(part) == 0) || (want != "" && !says(part, want)) {
			return false
		}
		path = rest
	}
	return true
}

var slash = []byte{'/'}

// says reports whether a part of a path is word once it is decoded, which is done
// after the path was split and once only: an encoded slash or percent sign is a
// character of the part.
func says(part []byte, word string) bool {
	if string(part) == word || bytes.IndexByte(part, '%') < 0 {
		return string(part) == word
	}
	decoded, err := url.PathUnescape(string(part))
	return err == nil && decoded == word
}

// fill decodes the parameters. ok is false if one is badly encoded or has a
// control character, which no name of ours has.
func (r *route) fill(path []byte, params *[2]string) (ok bool) {
	n := 0
	for i, part := range bytes.Split(path[1:], slash) {
		if r.parts[i] != "" {
			continue
		}
		s := string(part)
		if bytes.IndexByte(part, '%') >= 0 {
			decoded, err := url.PathUnescape(s)
			if err != nil {
				return false
			}
			s = decoded
		}
		if strings.IndexFunc(s, unicode.IsControl) >= 0 || !utf8.ValidString(s) {
			return false
		}
		params[n] = s
		n++
	}
	return true
}
