package web

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/limit"
)

const jobPath = "/v1/jobs/"

// serveKept answers a GET of a job on the event loop if everything for it is in
// memory: who calls and where the job is. It reports false if it has not answered,
// as with a path that is percent-encoded: no id needs that. It allocates nothing.
func (s *Server) serveKept(c *Call) bool {
	if c.Method() != http.MethodGet || len(c.Query()) > 0 || len(c.Body()) > 0 {
		return false
	}
	id, found := bytes.CutPrefix(c.RawPath(), []byte(jobPath))
	if !found {
		return false
	}
	var ok bool
	if c.caller.Shown, ok = s.ops.Show(c.Header("authorization"), c.certificate, memo(c.Exchange)); !ok || c.foreign && c.caller.Shown.Certificate {
		return false
	}
	d := s.ops.Kept(&c.caller, id)
	if d == nil {
		return false
	}
	a := Answer{Status: http.StatusOK, ContentType: contentJSON, Body: d.Body, ETag: d.ETag}
	if field := c.Header("if-none-match"); field != nil && names(field, d.ETag) {
		a = Answer{Status: http.StatusNotModified, ETag: d.ETag}
	}
	c.answerKept(&a)
	return true
}

// answerKept answers with a document from memory. The request's memory may be reused
// once the answer is out, so what the log says of it is put down before.
func (c *Call) answerKept(a *Answer) {
	now := time.Now()
	took := now.Sub(c.caller.Started)
	c.s.metrics.Status(a.Status, took)
	if left, wanted := c.s.dep.Access.Wants(a.Status, took, now); wanted {
		c.route = c.s.status
		c.write(&accesslog.Record{Status: a.Status, Took: took, BytesOut: int64(len(a.Body)), Events: -1}, left)
	}
	if len(c.s.cfg.Origins) == 0 {
		c.Respond(http1.Response{Status: a.Status, Lines: c.keptLines(a), Body: a.Body})
		return
	}
	c.Respond(http1.Response{Status: a.Status, Header: c.header(a), Body: a.Body})
}

// keptLines is what header returns, already encoded: nothing in it comes from anybody
// else.
func (c *Call) keptLines(a *Answer) []byte {
	b := c.lines[:0]
	if a.ContentType != "" {
		b = append(append(append(b, "Content-Type: "...), a.ContentType...), "\r\n"...)
	}
	b = append(append(b, "Cache-Control: private, no-cache\r\nETag: "...), a.ETag...)
	b = append(append(b, "\r\nX-Request-Id: "...), c.id...)
	if tp := c.caller.Traceparent; tp != "" {
		b = append(append(b, "\r\nTraceparent: "...), tp...)
	}
	if q := &c.caller.Quota; q.Quota != limit.None {
		b = q.AppendField(append(b, "\r\nRateLimit: "...))
		b = append(append(b, "\r\nRateLimit-Policy: "...), c.s.cfg.Policy...)
	}
	c.lines = append(b, "\r\n"...)
	return c.lines
}

// names reports whether an If-None-Match field names etag: a list of entity tags or
// "*", compared weakly (RFC 9110 section 13.1.2).
func names(field []byte, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for tag := range bytes.SplitSeq(field, []byte(",")) {
		tag = bytes.TrimSpace(tag)
		if string(tag) == "*" || string(bytes.TrimPrefix(tag, []byte("W/"))) == opaque {
			return true
		}
	}
	return false
}
