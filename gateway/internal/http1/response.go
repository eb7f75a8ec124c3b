package http1

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Field is one header field of an answer.
type Field struct{ Name, Value string }

// Response is one answer whose body is at hand. The encoder writes Date,
// Content-Length, Connection and Transfer-Encoding itself: fields of these
// names in Header are left out.
type Response struct {
	Status int
	Header []Field
	Lines  []byte // more fields, encoded by somebody who knows what is in them: each ends in CR LF
	Body   []byte
	Close  bool // ask the client to leave after this answer
}

// Encoding says how an answer goes out: what the request and the connection ask for.
type Encoding struct {
	Date  string // the value of the Date field, see [Date.At]; empty leaves it out
	Head  bool   // the request was HEAD: the length of the body is told, the body is not sent
	Minor int    // of the request
	Close bool   // the connection closes after this answer
}

// UnknownLength is the length of a body that is not known when its head is sent.
const UnknownLength = -1

// AppendResponse appends the whole answer to dst.
func AppendResponse(dst []byte, r *Response, e Encoding) []byte {
	dst = append(appendHead(dst, r.Status, r.Header, e), r.Lines...)
	if bodyAllowed(r.Status) {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
		dst = append(dst, "\r\n\r\n"...)
		if !e.Head {
			dst = append(dst, r.Body...)
		}
		return dst
	}
	return append(dst, "\r\n"...)
}

// AppendOpenHead appends the head of an answer whose body follows in pieces.
// The length is the size of the body in bytes, or [UnknownLength]: then the body
// must be sent with [AppendChunk] if chunked is true, and else ends with the
// connection, so e.Close must be set for an HTTP/1.0 client.
func AppendOpenHead(dst []byte, status int, header []Field, length int64, e Encoding) (_ []byte, chunked bool) {
	dst = appendHead(dst, status, header, e)
	switch {
	case !bodyAllowed(status):
	case length >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		dst = append(dst, "\r\n"...)
	case e.Minor > 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
		chunked = true
	}
	return append(dst, "\r\n"...), chunked
}

// AppendChunk appends one chunk. An empty p appends nothing, because an empty
// chunk ends a body: see [AppendLastChunk].
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(p)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, p...)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body.
func AppendLastChunk(dst []byte) []byte { return append(dst, "0\r\n\r\n"...) }

// AppendContinue appends the interim answer that asks for the body.
func AppendContinue(dst []byte) []byte { return append(dst, "HTTP/1.1 100 Continue\r\n\r\n"...) }

// AppendSwitch appends a 101 answer. Header must carry Upgrade.
func AppendSwitch(dst []byte, header []Field, e Encoding) []byte {
	e.Close = false
	dst = appendHead(dst, http.StatusSwitchingProtocols, header, e)
	return append(dst, "Connection: Upgrade\r\n\r\n"...)
}

func appendHead(dst []byte, status int, header []Field, e Encoding) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\n"...)
	if e.Date != "" {
		dst = append(dst, "Date: "...)
		dst = append(dst, e.Date...)
		dst = append(dst, "\r\n"...)
	}
	for i := range header {
		dst = appendField(dst, &header[i])
	}
	switch {
	case e.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case e.Minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

// appendField leaves out a field that the encoder owns or whose name is not a
// token, and replaces control characters in values: nothing that a handler puts
// in a field can end the field.
func appendField(dst []byte, f *Field) []byte {
	if f.Name == "" || reserved(f.Name) {
		return dst
	}
	at := len(dst)
	dst = append(dst, f.Name...)
	if !all(dst[at:], isToken) {
		return dst[:at]
	}
	dst = append(dst, ": "...)
	at = len(dst)
	dst = append(dst, f.Value...)
	for i, c := range dst[at:] {
		if class[c]&isValue == 0 {
			dst[at+i] = ' '
		}
	}
	return append(dst, "\r\n"...)
}

func reserved(name string) bool {
	switch len(name) {
	case len("date"):
		return strings.EqualFold(name, "date")
	case len("connection"):
		return strings.EqualFold(name, "connection")
	case len("content-length"):
		return strings.EqualFold(name, "content-length")
	case len("transfer-encoding"):
		return strings.EqualFold(name, "transfer-encoding")
	}
	return false
}

// bodyAllowed reports whether an answer of this status has a body: RFC 9110
// section 6.4.1.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Date makes the value of the Date field and keeps it for a second. It is safe
// for concurrent use. The zero value is ready.
type Date struct{ last atomic.Pointer[stamp] }

type stamp struct {
	second int64
	text   string
}

// Last returns what At returned last. Whoever calls At once a second spares the
// others the clock.
func (d *Date) Last() string {
	if s := d.last.Load(); s != nil {
		return s.text
	}
	return d.At(time.Now())
}

// At returns now as an HTTP date. It allocates once a second.
func (d *Date) At(now time.Time) string {
	second := now.Unix()
	if s := d.last.Load(); s != nil && s.second == second {
		return s.text
	}
	s := &stamp{second: second, text: now.UTC().Format(http.TimeFormat)}
	d.last.Store(s)
	return s.text
}
