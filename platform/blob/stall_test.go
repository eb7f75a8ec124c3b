package blob

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
)

// scripted returns a store whose server is script: it is called for each
// request on an in-memory connection, so that a bubble's clock applies.
func scripted(t *testing.T, script func(req *http.Request, conn net.Conn)) *Store {
	t.Helper()
	transport := newTransport()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			for in := bufio.NewReader(server); ; {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				script(req, server)
			}
		}()
		return client, nil
	}
	s, err := newStore(Config{Endpoint: "s3.test:80", Bucket: "bucket", AccessKey: "a", SecretKey: config.NewSecret("s")}.withDefaults(), link{transport: transport, requests: transport})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func answer(conn net.Conn, status int, header, body string) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(body), body)
}

func TestAnUploadThatMovesNothingIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		s := scripted(t, func(req *http.Request, _ net.Conn) {
			_, _ = io.CopyN(io.Discard, req.Body, 100) // and nothing more, and no answer
			<-over
		})
		begin := time.Now()
		_, err := s.Put(t.Context(), "k", strings.NewReader(strings.Repeat("x", 300_000)), 300_000, PutOptions{})
		require.ErrorIs(t, err, errStalled)
		require.Equal(t, job.Unavailable, job.KindOf(err))
		require.Equal(t, stallAfter, time.Since(begin).Round(time.Second))
	})
}

func TestAnUploadThatMovesSlowlyGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scripted(t, func(req *http.Request, conn net.Conn) {
			if req.Method == http.MethodHead {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 600000\r\n\r\n")
				return
			}
			buf := make([]byte, 100_000) // more than the client signs at a time
			for {
				time.Sleep(stallAfter - time.Second)
				if _, err := io.ReadFull(req.Body, buf); err != nil {
					break
				}
			}
			answer(conn, http.StatusOK, "ETag: \"e\"\r\n", "")
		})
		begin := time.Now()
		_, err := s.Put(t.Context(), "k", strings.NewReader(strings.Repeat("x", 600_000)), 600_000, PutOptions{})
		require.NoError(t, err)
		require.Greater(t, time.Since(begin), 4*stallAfter)
	})
}

func TestADownloadThatMovesNothingIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scripted(t, func(_ *http.Request, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nLast-Modified: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 10\r\n\r\nabc")
			_, _ = io.Copy(io.Discard, conn) // until the client gives up
		})
		rc, _, err := s.Get(t.Context(), "k", GetOptions{})
		require.NoError(t, err)
		buf := make([]byte, 3)
		_, err = io.ReadFull(rc, buf)
		require.NoError(t, err)
		time.Sleep(10 * stallAfter) // a reader may take its time
		_, err = io.ReadFull(rc, buf)
		require.ErrorIs(t, err, errStalled)
		require.Equal(t, job.Unavailable, job.KindOf(err))
		require.NoError(t, rc.Close())
	})
}

func TestEveryAnswerOfAStoreHasAKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		code   string
		want   job.Kind
	}{
		"no such key":        {404, "NoSuchKey", job.NotFound},
		"no such bucket":     {404, "NoSuchBucket", job.Unavailable},
		"slow down":          {503, "SlowDown", job.Unavailable},
		"internal error":     {500, "InternalError", job.Unavailable},
		"disk full":          {507, "InsufficientStorage", job.Overloaded},
		"quota":              {403, "QuotaExceeded", job.Overloaded},
		"keys do not fit":    {403, "SignatureDoesNotMatch", job.Unavailable},
		"a clock is off":     {403, "RequestTimeTooSkewed", job.Unavailable},
		"a session is over":  {400, "ExpiredToken", job.Unavailable},
		"a bad request":      {400, "InvalidArgument", job.Internal},
		"changed meanwhile":  {412, "PreconditionFailed", job.Conflict},
		"outside the object": {416, "InvalidRange", job.Invalid},
		"too many requests":  {429, "TooManyRequests", job.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := scripted(t, func(_ *http.Request, conn net.Conn) {
					answer(conn, c.status, "Content-Type: application/xml\r\n", "<Error><Code>"+c.code+"</Code><Message>secret place</Message></Error>")
				})
				_, _, err := s.Get(t.Context(), "k", GetOptions{})
				require.Equal(t, c.want, job.KindOf(err), "%v", err)
				require.NotContains(t, job.PublicOf(err, ""), "secret")
			})
		})
	}
}

func TestAStoreThatIsAwayIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scripted(t, nil)
		s.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		_, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, PutOptions{})
		require.Equal(t, job.Unavailable, job.KindOf(err))
		require.Equal(t, job.Unavailable, job.KindOf(s.Ready(t.Context())))
		require.Equal(t, job.Unavailable, job.KindOf(s.awaitBucket(t.Context())))
	})
}

func TestPresignedURLsNameThePublicEndpoint(t *testing.T) {
	t.Parallel()
	cfg := Config{Endpoint: "10.0.0.1:9000", Bucket: "bucket", AccessKey: "a", SecretKey: config.NewSecret("s"), PublicEndpoint: "https://audio.example.com"}
	transport := newTransport()
	s, err := newStore(cfg.withDefaults(), link{transport: transport, requests: transport})
	require.NoError(t, err)
	url, err := s.PresignGet(t.Context(), "k", time.Hour, "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(url, "https://audio.example.com/"), url)
	for _, bad := range []string{"audio.example.com", "ftp://audio.example.com", "https://audio.example.com/path", "https://"} {
		cfg.PublicEndpoint = bad
		require.ErrorContains(t, cfg.Validate(), "public-endpoint", bad)
	}
}

func FuzzValidKey(f *testing.F) {
	for _, k := range []string{"renditions/default/ab/ab.wav", "", "/", "a//b", "../a", "a/..", "a\x00", "ä", strings.Repeat("a", 2000)} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if ValidKey(key) != nil {
			return
		}
		if strings.Contains(key, "..") && strings.Contains("/"+key+"/", "/../") || strings.Contains(key, "//") || key[0] == '/' || len(key) > maxKeyBytes {
			t.Errorf("ValidKey(%q) = nil", key)
		}
	})
}
