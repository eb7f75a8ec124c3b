package streams_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay stands before the bucket and lets bytes pass towards it at a rate.
type relay struct {
	ctx context.Context //nolint:containedctx // the life of the relay
	ln  net.Listener
	to  string

	mu   sync.Mutex
	rate float64   // bytes a second of all connections together; 0 is no limit
	next time.Time // when the next byte may pass

	group sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &relay{ctx: ctx, ln: ln, to: to}
	r.group.Go(r.accept)
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		r.group.Wait()
	})
	return r
}

// slow sets the rate.
func (r *relay) slow(rate float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate = rate
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.group.Go(func() { r.carry(c) })
	}
}

func (r *relay) carry(c net.Conn) {
	defer func() { _ = c.Close() }()
	up, err := new(net.Dialer).DialContext(r.ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	stop := context.AfterFunc(r.ctx, func() { _ = c.Close(); _ = up.Close() })
	defer stop()
	r.group.Go(func() {
		_, _ = io.Copy(c, up)
		_ = c.Close()
	})
	_, _ = io.CopyBuffer(struct{ io.Writer }{up}, paced{c, r}, make([]byte, 32<<10))
	_ = up.Close()
}

// paced is a connection that is read at the relay's rate.
type paced struct {
	io.Reader
	r *relay
}

// Read reads, then waits for as long as the bytes take.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if werr := p.r.wait(n); werr != nil {
		return n, werr
	}
	return n, err
}

func (r *relay) wait(n int) error {
	r.mu.Lock()
	now := time.Now()
	var pause time.Duration
	if r.rate > 0 {
		if r.next.Before(now) {
			r.next = now
		}
		r.next = r.next.Add(time.Duration(float64(n) / r.rate * float64(time.Second)))
		pause = r.next.Sub(now)
	}
	r.mu.Unlock()
	return rest(r.ctx, pause)
}

// rest waits for d.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
