package torture_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	manyConns = 10_000
	wave      = 250 // connections open at a time
	fewConns  = 1000
	homes     = 8   // loopback addresses that connections come from
	surplus   = 200 // connections above the limit
)

// storm opens connections in waves and drops them: silent ones, half requests
// and answered ones, by the end of output and by resets.
func storm(t *testing.T, g *target) (cases int) {
	t.Helper()
	total := fewConns
	if g.full {
		total = manyConns
	}
	for n := 0; n < total; n += wave {
		conns := g.openMany(t, wave)
		var wg sync.WaitGroup
		for i, c := range conns {
			wg.Go(func() { g.drop(t, c, i) })
		}
		wg.Wait()
	}
	return total
}

// openMany connects n times.
func (g *target) openMany(t *testing.T, n int) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, n)
	var wg sync.WaitGroup
	var refused atomic.Int64
	slots := make(chan struct{}, 4*workers)
	for i := range conns {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%homes))}}
			c, err := d.DialContext(t.Context(), "tcp", g.addr)
			if err != nil {
				t.Errorf("connect: %v", err)
				refused.Add(1)
				return
			}
			conns[i], _ = c.(*net.TCPConn)
			_ = conns[i].SetDeadline(time.Now().Add(patience))
		})
	}
	wg.Wait()
	require.Zero(t, refused.Load())
	return conns
}

// drop ends a connection in one of six ways.
func (g *target) drop(t *testing.T, c *net.TCPConn, way int) {
	t.Helper()
	defer func() { _ = c.Close() }()
	request := g.status()
	switch way % 3 {
	case 1:
		_, _ = io.WriteString(c, request[:len(request)/2])
	case 2:
		if _, err := io.WriteString(c, request); err != nil {
			t.Errorf("send: %v", err)
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("read the answer: %v", err)
			return
		}
		_ = resp.Body.Close()
	}
	if way/3%2 == 1 {
		_ = c.SetLinger(0)
	}
}

// overflow opens more connections than the gateway takes, and asks on each. Those
// below the limit are served, those above it are told or closed, and new ones
// are served once these are gone.
func overflow(t *testing.T, g *target) (cases int) {
	t.Helper()
	var held []*net.TCPConn
	served, told, closed := 0, 0, 0
	var mu sync.Mutex
	ask := func(c net.Conn) {
		status, err := g.statusOn(c)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case status == http.StatusOK:
			served++
		case status == http.StatusServiceUnavailable:
			told++
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF):
			closed++
		default:
			t.Errorf("at the limit: status %d, %v", status, err)
		}
	}
	for len(held) < g.maxConns()+surplus {
		conns := g.openMany(t, surplus)
		held = append(held, conns...)
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() { ask(c) })
		}
		wg.Wait()
	}
	for _, c := range held {
		_ = c.Close()
	}
	t.Logf("at the limit of %d: %d served, %d told 503, %d closed", g.maxConns(), served, told, closed)
	require.LessOrEqual(t, served, g.maxConns())
	require.Positive(t, told)
	require.GreaterOrEqual(t, told+closed, surplus)
	require.Eventually(t, func() bool {
		a, err := g.ask("GET /v1/jobs/"+string(g.job)+" HTTP/1.1", "")
		return err == nil && a.status == http.StatusOK
	}, patience, look, "no new connection is served")
	return len(held)
}

var errNoRetryAfter = errors.New("a 503 without Retry-After")

// statusOn asks for the job on an open connection.
func (g *target) statusOn(c net.Conn) (int, error) {
	if _, err := io.WriteString(c, g.status()); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		return 0, errNoRetryAfter
	}
	return resp.StatusCode, nil
}
