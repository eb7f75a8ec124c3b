package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

// FuzzParse checks that a stream means the same however it is cut and whether
// bodies are streamed, and that a request that is accepted is framed as net/http frames it.
func FuzzParse(f *testing.F) {
	cases := corpus.Smuggling()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if raw := cases[name].Raw; len(raw) < 2048 {
			f.Add([]byte(raw+corpus.Canary), uint8(7))
		}
	}
	limits := http1.Limits{HeadBytes: 2048, Fields: 16, TargetBytes: 512, BodyBytes: 4096}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		whole := feed(t, limits, string(stream), max(1, len(stream)))
		for _, n := range []int{1, int(piece)%61 + 2} {
			if diff := cmp.Diff(whole, feed(t, limits, string(stream), n)); diff != "" {
				t.Fatalf("%q in pieces of %d differs (-whole +pieces):\n%s", stream, n, diff)
			}
		}
		if n := len(whole); n == 0 || whole[n-1].Status != http.StatusRequestEntityTooLarge { // a streamed body may be of any size
			if diff := cmp.Diff(whole, feedInPieces(t, limits, string(stream), int(piece)+1), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%q in pieces of %d differs (-whole +streamed):\n%s", stream, int(piece)+1, diff)
			}
		}
		if len(whole) > 0 && whole[0].Status == 0 {
			compareWithStandard(t, limits, stream)
		}
	})
}

// compareWithStandard checks the first request in stream. What only net/http
// refuses is not of interest here.
func compareWithStandard(t *testing.T, limits http1.Limits, stream []byte) {
	t.Helper()
	p := http1.NewParser(&limits)
	var r http1.Request
	n, done, err := p.Parse(&r, stream)
	if !done || err != nil {
		t.Fatalf("Parse(%q) = %t, %v; accepted a moment ago", stream, done, err)
	}
	skip := 0
	for bytes.HasPrefix(stream[skip:], []byte("\r\n")) { // net/http does not skip empty lines
		skip += 2
	}
	br := bufio.NewReader(bytes.NewReader(stream[skip:]))
	std, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	body, err := io.ReadAll(std.Body)
	if err != nil {
		return
	}
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	if used := len(stream) - len(rest); used != n || !bytes.Equal(body, r.Body()) || std.Method != r.Method() {
		t.Fatalf("%q: used %d with body %q; net/http used %d with body %q", stream, n, r.Body(), used, body)
	}
	if std.Host != string(r.Host()) && r.Method() != "OPTIONS" {
		t.Fatalf("%q: host is %q; net/http says %q", stream, r.Host(), std.Host)
	}
}

// FuzzRespond checks that no header value or body can change the framing of an answer.
func FuzzRespond(f *testing.F) {
	f.Add("Content-Type", "text/plain", []byte("hi"), true)
	f.Add("X", "a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK", []byte("x"), false)
	f.Add("Content-Length", "7", []byte("x"), false)
	f.Add("Bad Name", "7", []byte("x"), false)
	f.Fuzz(func(t *testing.T, name, value string, body []byte, chunked bool) {
		header := []http1.Field{{Name: name, Value: value}}
		e := http1.Encoding{Date: "Mon, 02 Jan 2006 15:04:05 GMT", Minor: 1}
		var out []byte
		if chunked {
			var c bool
			if out, c = http1.AppendOpenHead(nil, 200, header, http1.UnknownLength, e); !c {
				t.Fatal("not chunked")
			}
			out = http1.AppendLastChunk(http1.AppendChunk(out, body))
		} else {
			out = http1.AppendResponse(nil, &http1.Response{Status: 200, Header: header, Body: body}, e)
		}
		br := bufio.NewReader(bytes.NewReader(append(out, "NEXT"...)))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%q is no answer: %v", out, err)
		}
		defer func() { _ = resp.Body.Close() }()
		got, err := io.ReadAll(resp.Body)
		rest, _ := io.ReadAll(br)
		if err != nil || !bytes.Equal(got, body) || string(rest) != "NEXT" {
			t.Fatalf("%q is read as body %q (%v) and rest %q", out, got, err, rest)
		}
	})
}
