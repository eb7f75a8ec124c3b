package torture_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

const (
	slowFew      = 10
	slowMany     = 100             // of each kind
	slowPatience = 5 * time.Minute // the longest time-out of the gateway is a minute
	trickleEvery = time.Second
)

// dawdler is a client that takes its time, and how it must end.
type dawdler struct {
	begin   func(c net.Conn) error // after connecting; nil does nothing
	trickle string                 // sent again and again, one byte a second
	end     func(r *bufio.Reader) error
	long    bool // ends after a minute, too long for the small run
}

// beSlow starts slow clients and returns what waits for their ends.
func beSlow(t *testing.T, g *target) (wait func() int) {
	t.Helper()
	n := slowFew
	if g.full {
		n = slowMany
	}
	var wg sync.WaitGroup
	total := 0
	for name, d := range g.dawdlers(t) {
		if d.long && !g.full {
			continue
		}
		total += n
		for range n {
			wg.Go(func() {
				if err := g.dawdle(d); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	return func() int {
		wg.Wait()
		return total
	}
}

func (g *target) dawdlers(t *testing.T) map[string]dawdler {
	t.Helper()
	say := func(s string) func(net.Conn) error {
		return func(c net.Conn) error { _, err := io.WriteString(c, s); return err }
	}
	late, silence := ends(http.StatusRequestTimeout), endsSilent
	head := g.status()
	post := g.request("POST /v1/jobs HTTP/1.1", "", "Content-Type: application/json", "Content-Length: 1000")
	chunked := g.request("POST /v1/jobs HTTP/1.1", "", "Content-Type: application/json", "Transfer-Encoding: chunked")
	batch := g.request("POST /v1/jobs:batch HTTP/1.1", "", "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")
	return map[string]dawdler{
		"connects and says nothing":    {end: silence},
		"half a head":                  {begin: say(head[:40]), end: late},
		"a head byte by byte":          {begin: say("GET / HTTP/1.1\r\nX: "), trickle: "y", end: late},
		"a method byte by byte":        {trickle: "G", end: late},
		"half a body":                  {begin: say(post + `{"input":`), end: late, long: true},
		"a body byte by byte":          {begin: say(post), trickle: " ", end: late, long: true},
		"a chunked body byte by byte":  {begin: say(chunked), trickle: "1\r\n \r\n", end: late, long: true},
		"a batch without a line":       {begin: say(batch), end: late, long: true},
		"a batch that stops":           {begin: say(batch + "4\r\n{}\n{\r\n"), end: endsAnyhow, long: true},
		"a batch byte by byte":         {begin: say(batch), trickle: "1\r\n \r\n", end: late, long: true},
		"an upload that stops":         {begin: say(g.request(g.place(t), "", "Content-Type: text/plain", "Content-Length: 100000") + "It was"), end: late, long: true},
		"an upload byte by byte":       {begin: say(g.request(g.place(t), "", "Content-Type: text/plain", "Content-Length: 100000")), trickle: "a", end: late, long: true},
		"half a preface":               {begin: say("VM"), end: silence},
		"frames without Hello":         {begin: say("VML1"), end: endsWithProblem(http.StatusBadRequest)},
		"frames with half a Hello":     {begin: say("VML1" + string(g.hello()[:9])), end: endsWithProblem(http.StatusBadRequest)},
		"half a frame":                 {begin: say("VML1" + string(g.hello()) + "\x00\x00\x01\x00ab"), end: endsWithProblem(http.StatusBadRequest), long: true},
		"half a ClientHello":           {begin: say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), end: endsAnyhow},
		"a ClientHello byte by byte":   {begin: say("\x16\x03\x01\x02\x00"), trickle: "\x01", end: endsAnyhow},
		"half a frame over WebSocket":  {begin: say(g.upgrade(subJSON) + string(corpus.Final(corpus.Text, "never")[:8])), end: endsWithClose, long: true},
		"a peer that reads no answers": {begin: neverRead(head), end: endsAnyhow},
	}
}

func (g *target) dawdle(d dawdler) error {
	c, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(slowPatience)); err != nil {
		return err
	}
	if d.begin != nil {
		if err := d.begin(c); err != nil {
			return err
		}
	}
	done := make(chan struct{})
	var trickling sync.WaitGroup
	defer trickling.Wait()
	defer close(done)
	if d.trickle != "" {
		trickling.Go(func() { trickle(c, d.trickle, done) })
	}
	err = d.end(bufio.NewReader(c))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection did not end")
	}
	return err
}

func trickle(c net.Conn, s string, done <-chan struct{}) {
	tick := time.NewTicker(trickleEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if _, err := c.Write([]byte{s[i%len(s)]}); err != nil {
			return
		}
	}
}

// neverRead sends requests until the gateway has had enough.
func neverRead(request string) func(net.Conn) error {
	return func(c net.Conn) error {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10)
		}
		for {
			if _, err := io.WriteString(c, request); errors.Is(err, os.ErrDeadlineExceeded) {
				return errors.New("it was let to stall")
			} else if err != nil {
				return nil //nolint:nilerr // it was cut, as it must be
			}
		}
	}
}

// ends wants one answer and the end.
func ends(status int) func(*bufio.Reader) error {
	return func(r *bufio.Reader) error {
		all, err := readAnswers(r)
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].status != status {
			return fmt.Errorf("%d answers, %v; want the status %d", len(all), all, status)
		}
		return nil
	}
}

func endsSilent(r *bufio.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) > 0 {
		return fmt.Errorf("it said %q", b)
	}
	return err
}

func endsAnyhow(r *bufio.Reader) error {
	if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

const closePolicy = 1008

// endsWithClose wants the greeting and a close frame.
func endsWithClose(r *bufio.Reader) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	var f said
	for f.op != corpus.Close {
		if f, err = readFrame(r); err != nil {
			return err
		}
	}
	if len(f.data) < 2 || int(f.data[0])<<8|int(f.data[1]) != closePolicy {
		return fmt.Errorf("closed with %q", f.data)
	}
	return endsSilent(r)
}
