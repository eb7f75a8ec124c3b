package restart_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dial connects, for net/http, which sends some requests again by itself: what
// it makes up for is noted.
func (l *load) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, l.note("connect", err)
	}
	return &conn{Conn: c, l: l}, nil
}

// note keeps err if it says that a connection was refused or reset.
func (l *load) note(doing string, err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.severed = append(l.severed, time.Since(l.started).Round(time.Millisecond).String()+" "+doing+": "+err.Error())
	}
	return err
}

// conn is a connection of the load.
type conn struct {
	net.Conn
	l *load
	// kept says that it has brought an answer before. A server may end one that is
	// idle, and its client, if it is late to hear of that, meets a reset (RFC 9112,
	// 9.3.1) and sends its request again; there is nothing to note.
	kept atomic.Bool
}

// reuse marks the connection of a request as kept.
func reuse(info httptrace.GotConnInfo) {
	raw := info.Conn
	if over, ok := raw.(*tls.Conn); ok {
		raw = over.NetConn()
	}
	if c, ok := raw.(*conn); ok && info.Reused {
		c.kept.Store(true)
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.note("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.note("write", err)
}

func (c *conn) note(doing string, err error) error {
	if c.kept.Load() {
		return err
	}
	return c.l.note(doing, err)
}

// ask sends a request on c, whose answers r reads, and wants it served.
func ask(t *testing.T, url, key string, c io.Writer, r *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/voices", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	require.NoError(t, req.Write(c))
	resp, err := http.ReadResponse(r, req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}
