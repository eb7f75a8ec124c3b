package s3d_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

// silent opens a connection from an address of this machine and says nothing.
func silent(t *testing.T, s *s3d.Server, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", s.Endpoint())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	s := start(t, t.TempDir())
	keys := s.Credentials()
	own, err := blob.Open(t.Context(), blob.Config{
		Endpoint: s.Endpoint(), Bucket: "voicemill", AccessKey: keys.AccessKey, SecretKey: keys.SecretKey, ConnectWait: 5 * time.Second,
	}, blob.InProcess(s))
	require.NoError(t, err)
	t.Cleanup(own.Close)

	var quiet []net.Conn
	for range 1200 { // one address
		quiet = append(quiet, silent(t, s, "127.0.0.2"))
	}
	began := time.Now()
	put(t, open(t, s), "other.txt", "another client")
	put(t, own, "own.txt", "this process")
	require.Less(t, time.Since(began), 5*time.Second)

	for i := range 400 { // many addresses: they fill the public port
		quiet = append(quiet, silent(t, s, fmt.Sprintf("127.0.%d.%d", 1+i/100, 10+i%100)))
	}
	began = time.Now()
	put(t, own, "own-again.txt", "this process")
	require.Less(t, time.Since(began), 5*time.Second)

	for _, c := range quiet { // each ends: refused, or late with its first request
		require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err := io.ReadAll(c)
		timeout, ok := err.(net.Error) //nolint:errorlint // as the connection returned it
		require.False(t, ok && timeout.Timeout(), "a silent connection is held")
	}
	put(t, open(t, s), "later.txt", "everybody")
}

// A gateway apart carries 1,024 bodies by default, each over a connection of its own, and
// comes from one address.
func TestAGatewayMayCarryAllThatItAccepts(t *testing.T) {
	s := start(t, t.TempDir())
	for range 1024 {
		silent(t, s, "127.0.0.1")
	}
	answer, err := new(http.Client).Get("http://" + s.Endpoint() + "/.health") //nolint:noctx // one attempt, as it is
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestADribbledHeadIsCut(t *testing.T) {
	s := start(t, t.TempDir())
	c := silent(t, s, "127.0.0.1")
	began := time.Now()
	go func() { // ends with the connection
		for _, b := range []byte("GET /.health HTTP/1.1\r\nHost: " + strings.Repeat("x", 1000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			<-time.After(200 * time.Millisecond)
		}
	}()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		require.GreaterOrEqual(t, answer.StatusCode, 400)
		require.NoError(t, answer.Body.Close())
	}
	require.Less(t, time.Since(began), 20*time.Second)
}

// The server behind the door refuses without reading the body, and closes its connection.
func TestWhyAnUploadIsRefusedIsToldEveryTime(t *testing.T) {
	s := start(t, t.TempDir())
	const uploaders, each, size = 4, 50, 300_000
	link, fields, err := open(t, s).PresignPut(t.Context(), "a/b", time.Minute, "audio/wav", size)
	require.NoError(t, err)
	link = strings.Replace(link, "/a/b", "/a/c", 1)
	var said [uploaders]map[int]int
	var running sync.WaitGroup
	for n := range uploaders {
		said[n] = map[int]int{}
		running.Go(func() {
			for range each {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, link, bytes.NewReader(make([]byte, size)))
				if err != nil {
					t.Error(err)
					return
				}
				for name, value := range fields {
					r.Header.Set(name, value)
				}
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				said[n][resp.StatusCode]++
			}
		})
	}
	running.Wait()
	for _, by := range said {
		require.Equal(t, map[int]int{http.StatusForbidden: each}, by)
	}
}
