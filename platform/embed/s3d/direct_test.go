package s3d_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

var errWire = errors.New("this needs a connection")

// cut is a wire that nothing gets through.
type cut struct{}

func (cut) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return nil, errWire
}

// ask sends a request past the wire. The answer's body is closed with the test.
func ask(t *testing.T, s *s3d.Server, method, path, body string, header ...string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Endpoint()+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Direct(cut{}).RoundTrip(r)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err //nolint:wrapcheck // to look at
}

func status(t *testing.T, s *s3d.Server, method, path, body string, header ...string) int {
	t.Helper()
	resp, err := ask(t, s, method, path, body, header...) //nolint:bodyclose // the test closes it at its end
	require.NoError(t, err, "%s %s", method, path)
	return resp.StatusCode
}

func TestWhatThisProcessAsksNeedsNoConnection(t *testing.T) {
	s := start(t, t.TempDir())
	open(t, s) // makes the bucket

	resp, err := ask(t, s, http.MethodPut, "/voicemill/a/b.txt", "hello", "Content-Type", "text/plain") //nolint:bodyclose // the test closes it at its end
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	etag := resp.Header.Get("ETag")
	require.NotEmpty(t, resp.Header.Get("X-Amz-Checksum-Crc64nvme"))

	resp, err = ask(t, s, http.MethodGet, "/voicemill/a/b.txt", "") //nolint:bodyclose // the test closes it at its end
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
	require.Equal(t, etag, resp.Header.Get("ETag"))
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))

	require.Equal(t, http.StatusOK, status(t, s, http.MethodHead, "/voicemill/a/b.txt", ""))
	require.Equal(t, http.StatusPreconditionFailed, status(t, s, http.MethodPut, "/voicemill/a/b.txt", "hello", "If-None-Match", "*"))
	require.Equal(t, http.StatusPreconditionFailed, status(t, s, http.MethodGet, "/voicemill/a/b.txt", "", "If-Match", "other"))
	require.Equal(t, http.StatusNotFound, status(t, s, http.MethodGet, "/voicemill/a/c.txt", ""))
	require.Equal(t, http.StatusNotFound, status(t, s, http.MethodPut, "/nobody/a.txt", "hello"))
}

func TestWhatIsNotOneObjectGoesOverAConnection(t *testing.T) {
	s := start(t, t.TempDir())
	for name, tt := range map[string]struct {
		method, path string
		header       []string
	}{
		"a bucket":            {http.MethodHead, "/voicemill", nil},
		"a listing":           {http.MethodGet, "/voicemill/?list-type=2", nil},
		"a part":              {http.MethodPut, "/voicemill/a?partNumber=1&uploadId=x", nil},
		"a delete":            {http.MethodDelete, "/voicemill/a", nil},
		"a copy":              {http.MethodPut, "/voicemill/a", []string{"X-Amz-Copy-Source", "/voicemill/b"}},
		"chunks with a sum":   {http.MethodPut, "/voicemill/a", []string{"X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}},
		"a path out of it":    {http.MethodGet, "/voicemill/../../credentials", nil},
		"the library's own":   {http.MethodGet, "/voicemill/.sgwtmp/a", nil},
		"the library's own 2": {http.MethodGet, "/voicemill/a/.sgwtmp", nil},
		"another bucket name": {http.MethodGet, "/../a", nil},
	} {
		_, err := ask(t, s, tt.method, tt.path, "hello", tt.header...) //nolint:bodyclose // the test closes it at its end
		require.ErrorIs(t, err, errWire, name)
	}
}

func TestAStopWaitsForWhatIsPutWithoutAConnection(t *testing.T) {
	s := start(t, t.TempDir())
	store, err := blob.Open(t.Context(), blob.Config{
		Endpoint: s.Endpoint(), Bucket: "voicemill", AccessKey: s.Credentials().AccessKey, SecretKey: s.Credentials().SecretKey,
	}, blob.InProcess(s))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pr, pw := io.Pipe()
	stored := make(chan error, 1)
	go func() {
		_, err := store.PutOnce(t.Context(), "a/b.txt", pr, 10, blob.PutOptions{})
		stored <- err
	}()
	_, err = pw.Write([]byte("hello"))
	require.NoError(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
	for { // the stop has begun when nobody gets in
		if _, err := ask(t, s, http.MethodHead, "/voicemill/a/b.txt", ""); err != nil { //nolint:bodyclose // the test closes it at its end
			require.ErrorIs(t, err, errWire)
			break
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("it stopped with an object in hand: %v", err)
	default:
	}
	_, err = pw.Write([]byte("world"))
	require.NoError(t, err)
	require.NoError(t, pw.Close())
	require.NoError(t, <-stored)
	require.NoError(t, <-stopped)
	_, err = store.Stat(t.Context(), "a/b.txt")
	require.Equal(t, job.Unavailable, job.KindOf(err))
}

func TestAPutLeavesWithItsContext(t *testing.T) {
	s := start(t, t.TempDir())
	open(t, s)
	pr, pw := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.Endpoint()+"/voicemill/a.txt", pr)
	require.NoError(t, err)
	r.ContentLength = 5
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	_, err = s.Direct(cut{}).RoundTrip(r) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = pw.Write([]byte("hello")) // it waits for this, and then looks at its context
	require.NoError(t, err)
	_, err = pw.Write([]byte("!"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Equal(t, http.StatusNotFound, status(t, s, http.MethodHead, "/voicemill/a.txt", ""))
}
