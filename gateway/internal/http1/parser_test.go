package http1_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// parsed is what a test compares of a request.
type parsed struct {
	Method, Path, Query, Host, Body string
	KeepAlive                       bool
	Status                          int // of the refusal
}

// feed parses stream in pieces of the given size and returns every request, the
// refusal, if any, last.
func feed(tb testing.TB, limits http1.Limits, stream string, piece int) []parsed {
	tb.Helper()
	p := http1.NewParser(&limits)
	var r http1.Request
	var out []parsed
	for at := 0; at < len(stream); {
		end := min(at+piece, len(stream))
		data := []byte(stream[at:end])
		for len(data) > 0 {
			n, done, err := p.Parse(&r, data)
			if err != nil {
				var e *http1.Error
				if !errors.As(err, &e) {
					tb.Fatalf("Parse(%q) failed with %T", stream, err)
				}
				return append(out, parsed{Status: e.Status})
			}
			if done {
				out = append(out, parsed{
					r.Method(), string(r.RawPath()), string(r.Query()), string(r.Host()),
					string(r.Body()), r.KeepAlive(), 0,
				})
			} else if n != len(data) {
				tb.Fatalf("Parse(%q) used %d of %d bytes and wants more", stream, n, len(data))
			}
			clear(data[:n]) // what was parsed from this memory must not be needed any more
			data = data[n:]
		}
		at = end
	}
	return out
}

func TestRequestsAreTheSameHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	stream := "GET /a%20b?x=%20 HTTP/1.1\r\nHost: h:80\r\n\r\n" +
		"\r\nPOST /v1/jobs HTTP/1.1\r\nhost: h\r\nContent-Length: 5\r\n\r\nhello" +
		"PUT http://other/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n06\r\n world\r\n0\r\nX: y\r\n\r\n" +
		"\r\n\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" +
		"GET http://o?q HTTP/1.1\r\nHost:\r\nConnection: x, close\r\n\r\n"
	want := []parsed{
		{"GET", "/a%20b", "x=%20", "h:80", "", true, 0},
		{"POST", "/v1/jobs", "", "h", "hello", true, 0},
		{"PUT", "/x", "", "other", "hello world", true, 0},
		{"OPTIONS", "*", "", "", "", true, 0},
		{"GET", "/", "q", "o", "", false, 0},
	}
	for piece := 1; piece <= len(stream); piece++ {
		if diff := cmp.Diff(want, feed(t, http1.DefaultLimits(), stream, piece)); diff != "" {
			t.Fatalf("pieces of %d bytes (-want +got):\n%s", piece, diff)
		}
	}
}

func TestDetachedRequestSurvivesItsMemory(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]string{
		"whole":   "POST /p?q HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody",
		"chunked": "POST /p?q HTTP/1.1\r\nHost: h\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		for _, cut := range []int{0, 20, len(m) - 2} {
			limits := http1.DefaultLimits()
			p := http1.NewParser(&limits)
			var r http1.Request
			data := []byte(m)
			n, _, err := p.Parse(&r, data[:cut])
			if err != nil || n != cut {
				t.Fatalf("%s cut at %d: Parse = %d, %v", name, cut, n, err)
			}
			if _, done, err := p.Parse(&r, data[cut:]); !done || err != nil {
				t.Fatalf("%s cut at %d: Parse = %t, %v", name, cut, done, err)
			}
			r.Detach()
			clear(data)
			got := strings.Join([]string{r.Method(), string(r.RawPath()), string(r.Query()), string(r.Header("x-a")), string(r.Body())}, " ")
			if got != "POST /p q b body" {
				t.Errorf("%s cut at %d: after Detach the request is %q", name, cut, got)
			}
		}
	}
}
