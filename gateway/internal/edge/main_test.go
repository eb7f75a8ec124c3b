package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(serveWithFewDescriptors())
	}
	goleak.VerifyTestMain(m,
		// A library of gnet starts these when it is loaded and never ends them.
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// carry runs f on a goroutine while a body is under way. It reports false if too many
// are.
func carry(ex *edge.Exchange, f func()) bool {
	done, ok := ex.Carry()
	if ok {
		go func() {
			defer done()
			defer func() {
				if recover() != nil {
					ex.Abort()
				}
			}()
			f()
		}()
	}
	return ok
}

// door is a running server.
type door struct {
	*edge.Server
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

// open runs a server until the end of the test.
func open(tb testing.TB, cfg edge.Config, h edge.HandlerFunc) *door {
	tb.Helper()
	return openWith(tb, cfg, h)
}

func openWith(tb testing.TB, cfg edge.Config, h edge.Handler) *door {
	tb.Helper()
	if cfg.Listener == nil && cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Tick == 0 {
		cfg.Tick = 5 * time.Millisecond
	}
	if cfg.Loops == 0 {
		cfg.Loops = 2
	}
	log := slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := edge.New(cfg, h, log)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{Server: s, t: tb, stop: stop, done: make(chan error, 1)}
	go func() { d.done <- s.Run(ctx) }()
	tb.Cleanup(d.close)
	return d
}

// close stops the server and waits for it.
func (d *door) close() {
	d.stop()
	select {
	case err := <-d.done:
		d.done <- nil // for the next caller
		if err != nil {
			d.t.Errorf("Run: %v", err)
		}
	case <-time.After(30 * time.Second):
		d.t.Error("Run did not return")
	}
}

// dial connects to the server. The connection gives up after some time, so that
// a test that waits in vain fails.
func (d *door) dial() *client {
	d.t.Helper()
	nc := dial(d.t, d.Addr().String())
	return &client{nc, bufio.NewReader(nc), d.t}
}

// dial connects and closes at the end of the test.
func dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	nc, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		tb.Fatalf("dialled a %T", nc)
	}
	return tcp
}

// client is the other end of a connection.
type client struct {
	*net.TCPConn
	r *bufio.Reader
	t testing.TB
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answer is what a test looks at in an answer.
type answer struct {
	status int
	body   string
	close  bool
	header http.Header
}

// receive reads one answer to a request with the given method.
func (c *client) receive(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Close, resp.Header}, err
}

// want reads one answer and checks its status and body; an empty body is not checked.
func (c *client) want(status int, body string) answer {
	c.t.Helper()
	a, err := c.receive(http.MethodGet)
	if err != nil {
		c.t.Fatalf("receive: %v; want status %d, body %q", err, status, body)
	}
	if a.status != status || body != "" && a.body != body {
		c.t.Fatalf("answer is %d %q; want %d %q", a.status, a.body, status, body)
	}
	return a
}

// wantEnd checks that the server closes the connection in order.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("read = %q, %v; want the end", b, err)
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("bug:")) { // a state that no table has
		w.t.Errorf("%s", bytes.TrimSpace(p))
	}
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func text(status int, body string) http1.Response {
	return http1.Response{Status: status, Header: []http1.Field{{Name: "Content-Type", Value: "text/plain"}}, Body: []byte(body)}
}

// echo answers with what it got.
func echo(ex *edge.Exchange) {
	r := ex.Request()
	ex.Respond(text(200, r.Method()+" "+string(r.RawPath())+" "+string(r.Body())))
}

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

// waitFor polls, because counters announce nothing.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
