package restart_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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
	return &conn{c, l}, nil
}

// note keeps err if it says that a connection was refused or reset. One that
// ends after an answer ends with io.EOF.
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
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.l.note("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.l.note("write", err)
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
