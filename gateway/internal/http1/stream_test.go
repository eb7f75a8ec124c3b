package http1_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

// feedInPieces is feed with the body of every request read in pieces.
func feedInPieces(tb testing.TB, limits http1.Limits, stream string, piece int) []parsed {
	tb.Helper()
	p := http1.NewParser(&limits)
	p.LeaveBodies(func(*http1.Request) bool { return true })
	var r http1.Request
	var out []parsed
	refused := func(err error) []parsed {
		var e *http1.Error
		if !errors.As(err, &e) {
			tb.Fatalf("Parse(%q) failed with %T", stream, err)
		}
		return append(out, parsed{Status: e.Status})
	}
	for at := 0; at < len(stream); at += piece {
		data := []byte(stream[at:min(at+piece, len(stream))])
		for len(data) > 0 {
			var n int
			if p.Stage() == http1.StageLeft {
				m, body, _, err := p.ReadBody(data)
				out[len(out)-1].Body += string(body)
				if err != nil {
					out = out[:len(out)-1] // the whole request is refused, as without streaming
					return refused(err)
				}
				n = m
			} else {
				m, done, err := p.Parse(&r, data)
				if err != nil {
					return refused(err)
				}
				if done {
					out = append(out, parsed{
						r.Method(), string(r.RawPath()), string(r.Query()), string(r.Host()), string(r.Body()), r.KeepAlive(), 0,
					})
				}
				n = m
			}
			clear(data[:n])
			data = data[n:]
		}
	}
	if p.Stage() == http1.StageLeft {
		out = out[:len(out)-1]
	}
	return out
}

func TestAStreamedBodyIsTheBody(t *testing.T) {
	t.Parallel()
	limits := http1.DefaultLimits()
	for name, test := range corpus.Smuggling() {
		stream := test.Raw + corpus.Canary
		if len(stream) > 4096 {
			continue // pieces of one byte of it take long
		}
		whole := feed(t, limits, stream, len(stream))
		if n := len(whole); n > 0 && whole[n-1].Status == 413 {
			continue // a body that is streamed may be of any size
		}
		for _, n := range []int{1, 2, 7, 64, len(stream)} {
			if diff := cmp.Diff(whole, feedInPieces(t, limits, stream, n)); diff != "" {
				t.Errorf("%s in pieces of %d differs (-whole +streamed):\n%s", name, n, diff)
			}
		}
	}
}
