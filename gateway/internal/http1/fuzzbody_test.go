package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

// arrived is what became of a body that was read while it arrived.
type arrived struct {
	Body   string
	Used   int // bytes, once it is done
	Done   bool
	Status int // of the refusal
}

// FuzzReadBody checks that what follows a head is the same body however it is
// cut, that it is part of what was sent, and that it ends where net/http ends it.
func FuzzReadBody(f *testing.F) {
	cases := corpus.Smuggling()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		_, body, found := strings.Cut(cases[name].Raw, "\r\n\r\n")
		if found && body != "" && len(body) < 2048 {
			f.Add([]byte(body+corpus.Canary), uint16(0), uint8(7))
			f.Add([]byte(body+corpus.Canary), uint16(len(body)), uint8(7)) //nolint:gosec // less than 2048
		}
	}
	limits := http1.DefaultLimits()
	f.Fuzz(func(t *testing.T, body []byte, length uint16, piece uint8) {
		head := "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		if length > 0 {
			head = fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", length)
		}
		whole := arrive(t, limits, head, body, max(1, len(body)))
		for _, n := range []int{1, int(piece)%61 + 2} {
			if diff := cmp.Diff(whole, arrive(t, limits, head, body, n)); diff != "" {
				t.Fatalf("%q in pieces of %d differs (-whole +pieces):\n%s", body, n, diff)
			}
		}
		if !whole.Done {
			return
		}
		br := bufio.NewReader(strings.NewReader(head + string(body)))
		std, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(std.Body)
		if err != nil {
			return // what only net/http refuses is not of interest here
		}
		rest, err := io.ReadAll(br)
		if err != nil {
			t.Fatal(err)
		}
		if used := len(body) - len(rest); used != whole.Used || string(got) != whole.Body {
			t.Fatalf("%q: used %d with body %q; net/http used %d with body %q", body, whole.Used, whole.Body, used, got)
		}
	})
}

// arrive reads the body behind head in pieces.
func arrive(t *testing.T, limits http1.Limits, head string, body []byte, piece int) (a arrived) {
	t.Helper()
	p := http1.NewParser(&limits)
	p.LeaveBodies(func(*http1.Request) bool { return true })
	var r http1.Request
	if n, done, err := p.Parse(&r, []byte(head)); n != len(head) || !done || err != nil || p.Stage() != http1.StageLeft {
		t.Fatalf("Parse(%q) = %d, %t, %v at stage %v", head, n, done, err, p.Stage())
	}
	for at := 0; at < len(body); at += piece {
		data := slices.Clone(body[at:min(at+piece, len(body))])
		for len(data) > 0 {
			n, part, done, err := p.ReadBody(data)
			if n < 0 || n > len(data) || len(part) > n || n == 0 && !done && err == nil {
				t.Fatalf("ReadBody(%q) used %d bytes for %d of the body", data, n, len(part))
			}
			a.Body += string(part)
			a.Used += n
			if err != nil {
				var e *http1.Error
				if !errors.As(err, &e) {
					t.Fatalf("ReadBody(%q) failed with %T", data, err)
				}
				a.Used, a.Status = 0, e.Status
				return a
			}
			if done {
				a.Done = true
				return a
			}
			clear(data[:n]) // the parser must not look at it again
			data = data[n:]
		}
	}
	a.Used = 0
	return a
}
