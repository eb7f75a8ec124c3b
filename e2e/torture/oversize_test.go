package torture_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

const maxFrame = 1 << 20

// oversize sends more than is allowed of everything that has a limit.
func oversize(t *testing.T, g *target) (cases int) {
	t.Helper()
	ordeals := map[string]func() error{}
	for name, c := range g.largeRequests() {
		ordeals[name] = func() error { return g.refuses(c.raw, c.status) }
	}
	message := strings.Repeat("x", corpus.MaxMessage+1)
	for name, input := range map[string][]byte{
		"a WebSocket message":           corpus.Final(corpus.Text, message),
		"a WebSocket message in pieces": slices.Concat(corpus.Part(corpus.Text, message[1:]), corpus.Final(corpus.Continuation, "x")),
		"a WebSocket frame announced":   {0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
	} {
		s := session{protocol: subJSON, input: input, codes: []int{closeTooBig}}
		ordeals[name] = func() error { return g.play(s, nil) }
	}
	for name, raw := range map[string][]byte{
		"a Hello":           binary.BigEndian.AppendUint32([]byte("VML1"), 10<<10+1),
		"a frame":           binary.BigEndian.AppendUint32(append([]byte("VML1"), g.hello()...), maxFrame+1),
		"a frame of 4 GiB":  binary.BigEndian.AppendUint32(append([]byte("VML1"), g.hello()...), 1<<32-1),
		"a whole big frame": framedAfter(append([]byte("VML1"), g.hello()...), field(3, make([]byte, maxFrame))),
	} {
		ordeals[name] = func() error { return g.refusesFrame(raw) }
	}
	times := 4
	if g.full {
		times = 20
	}
	each(t, ordeals, func(_ string, do func() error) error {
		for range times {
			if err := do(); err != nil {
				return err
			}
		}
		return nil
	})
	return len(ordeals) * times
}

func framedAfter(before, message []byte) []byte { return append(before, framed(message)...) }

type largeRequest struct {
	raw    string
	status int
}

func (g *target) largeRequests() map[string]largeRequest {
	post := func(body string, fields ...string) string {
		return g.request("POST /v1/jobs HTTP/1.1", body, append(fields, "Connection: close")...)
	}
	chunked := func(body string) string {
		return g.request("POST /v1/jobs HTTP/1.1", "", "Content-Type: application/json", "Transfer-Encoding: chunked") + body
	}
	text := func(n int) string { return `{"input":{"text":"` + strings.Repeat("a", n) + `"}}` }
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 64<<20))
	_ = z.Close()
	const many, deep = 1 << 20, 10_000
	return map[string]largeRequest{
		"a head":              {g.request("GET /v1/jobs HTTP/1.1", "", "X: "+strings.Repeat("x", 17<<10)), 431},
		"a number of fields":  {g.request("GET /v1/jobs HTTP/1.1", "", slices.Repeat([]string{"X: y"}, 80)...), 431},
		"a target":            {g.request("GET /v1/jobs?"+strings.Repeat("x", 9<<10)+" HTTP/1.1", ""), 414},
		"a method":            {g.request(strings.Repeat("M", 200)+" / HTTP/1.1", ""), 400},
		"a body":              {post(text(many)), 413},
		"a body announced":    {g.request("POST /v1/jobs HTTP/1.1", "", "Content-Type: application/json", "Content-Length: 999999999999"), 413},
		"a chunked body":      {chunked(strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 17)), 413},
		"a chunk announced":   {chunked("fffffff\r\n"), 413},
		"a chunk extension":   {chunked("1;" + strings.Repeat("x", 1000) + "\r\nx\r\n"), 400},
		"chunk extensions":    {chunked(strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\nx\r\n", 100)), 400},
		"a trailer":           {chunked("1\r\n{\r\n0\r\nX: " + strings.Repeat("y", 9000) + "\r\n\r\n"), 431},
		"a text":              {post(text(300 << 10)), 413},
		"a depth of JSON":     {post(strings.Repeat(`{"input":`, deep) + "1" + strings.Repeat("}", deep)), 400},
		"a depth of lists":    {post(`{"input":` + strings.Repeat(`[`, deep) + strings.Repeat("]", deep) + "}"), 400},
		"a number of labels":  {post(`{"input":{"text":"x"},"labels":{` + strings.TrimSuffix(labels(1000), ",") + `}}`), 413},
		"a gzip bomb":         {post(bomb.String(), "Content-Encoding: gzip"), 413},
		"an Idempotency-Key":  {post(`{"input":{"text":"x"}}`, "Idempotency-Key: "+strings.Repeat("k", 5000)), 400},
		"a key":               {"GET /v1/jobs HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat("k", 8000) + "\r\n\r\n", 401},
		"a wait":              {g.request("GET /v1/jobs/"+string(g.job)+"?wait=99999999999999999999 HTTP/1.1", "", "Connection: close"), 400},
		"a page of a listing": {g.request("GET /v1/jobs?limit=1000000 HTTP/1.1", "", "Connection: close"), 400},
	}
}

func labels(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"label-%d":"x",`, i)
	}
	return b.String()
}

// refuses sends raw and wants one answer with that status and the end.
func (g *target) refuses(raw string, status int) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.WriteString(conn, raw) }() // ends with the connection
	all, err := readAnswers(conn)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].status != status {
		return fmt.Errorf("%d answers, %d %s; want the status %d", len(all), all[0].status, all[0].body, status)
	}
	if got := all[0].header.Get("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("the answer is %s", got)
	}
	return nil
}

func (g *target) refusesFrame(raw []byte) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = conn.Write(raw) }() // ends with the connection
	return endsWithProblem(http.StatusRequestEntityTooLarge)(bufio.NewReader(conn))
}

// endsWithProblem wants a problem on stream 0 and the end; a greeting may come
// before.
func endsWithProblem(status uint32) func(*bufio.Reader) error {
	return func(r *bufio.Reader) error {
		for {
			f, err := nextFrame(r)
			if err != nil {
				return err
			}
			p := f.GetProblem()
			switch {
			case p == nil:
				continue
			case f.GetStream() != 0 || p.GetStatus() != status:
				return fmt.Errorf("stream %d, status %d: %s", f.GetStream(), p.GetStatus(), p.GetDetail())
			}
			return endsSilent(r)
		}
	}
}

var errFrame = errors.New("not a frame")

func nextFrame(r io.Reader) (*voicemillv1.Frame, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	f := &voicemillv1.Frame{}
	return f, proto.Unmarshal(b, f)
}
