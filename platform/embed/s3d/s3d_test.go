package s3d_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

// The tests of this package run one after the other: a process has one server.

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, // the library's HTTP server never ends the first, and the second ten seconds late
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

func start(tb testing.TB, dir string) *s3d.Server {
	tb.Helper()
	s, err := s3d.Start(tb.Context(), s3d.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Stop(context.Background())) })
	return s
}

func open(tb testing.TB, s *s3d.Server) *blob.Store {
	tb.Helper()
	store, err := blob.Open(tb.Context(), blob.Config{
		Endpoint: s.Endpoint(), Bucket: "voicemill", AccessKey: s.Credentials().AccessKey, SecretKey: s.Credentials().SecretKey,
	})
	require.NoError(tb, err)
	tb.Cleanup(store.Close)
	return store
}

func put(tb testing.TB, store *blob.Store, key, text string) blob.Info {
	tb.Helper()
	info, err := store.Put(tb.Context(), key, strings.NewReader(text), int64(len(text)), blob.PutOptions{ContentType: "text/plain"})
	require.NoError(tb, err)
	return info
}

func TestObjectsAndKeysOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	store := open(t, s)
	was := put(t, store, "a/b/c.txt", "hello")
	store.Close()
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a second Stop")
	require.NoError(t, s.Err())

	again := start(t, dir)
	require.Equal(t, s.Credentials(), again.Credentials())
	got, err := open(t, again).Stat(t.Context(), "a/b/c.txt")
	require.NoError(t, err)
	require.Equal(t, was.ETag, got.ETag)
	require.Equal(t, "text/plain", got.ContentType)
}

func TestNothingIsReadableByOtherUsers(t *testing.T) {
	dir := t.TempDir()
	put(t, open(t, start(t, dir)), "a/b.txt", "hello")
	for path, want := range map[string]os.FileMode{
		"credentials": 0o600, "objects": os.ModeDir | 0o700, "objects/voicemill/a": os.ModeDir | 0o700, "objects/voicemill/a/b.txt": 0o600,
	} {
		st, err := os.Stat(filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, want, st.Mode(), path)
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	_, err := s3d.Start(t.Context(), s3d.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, dir)
	_, err = s3d.Start(t.Context(), s3d.Config{DataDir: t.TempDir()}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "one instance per process")
}

func TestTheWorkingDirectoryStays(t *testing.T) {
	before, err := os.Getwd()
	require.NoError(t, err)
	put(t, open(t, start(t, t.TempDir())), "a.txt", "hello")
	after, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = os.Stat("s3d_test.go")
	require.NoError(t, err)
}

func TestFilesWithoutAttributesKeepThemBeside(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sidecar"), 0o700)) // as a start leaves it where there are none
	store := open(t, start(t, dir))
	was := put(t, store, "a/b.txt", "hello")
	got, err := store.Stat(t.Context(), "a/b.txt")
	require.NoError(t, err)
	require.Equal(t, was.ETag, got.ETag)
	entries, err := os.ReadDir(filepath.Join(dir, "sidecar"))
	require.NoError(t, err)
	require.NotEmpty(t, entries)
}

func TestDamagedCredentialsAreNamedAndKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "credentials")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err := s3d.Start(t.Context(), s3d.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, path)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "{", string(raw))
}

func TestAPortThatIsTakenFailsTheStart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, t.TempDir())
	_, err := s3d.Start(t.Context(), s3d.Config{DataDir: dir, Listen: s.Endpoint()}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "address already in use")
}

func TestBucketNamesCannotLeaveTheFolder(t *testing.T) {
	s := start(t, t.TempDir())
	for _, name := range []string{"..", ".vgwlocks", "a..b", "A-B", "sidecar/x"} {
		_, err := blob.Open(t.Context(), blob.Config{
			Endpoint: s.Endpoint(), Bucket: name, AccessKey: s.Credentials().AccessKey, SecretKey: s.Credentials().SecretKey, ConnectWait: 1,
		})
		require.Error(t, err, name)
	}
}

func TestDeletedFoldersAreMadeAgain(t *testing.T) {
	store := open(t, start(t, t.TempDir()))
	for range 3 {
		put(t, store, "r/aa/1.wav", "x")
		require.NoError(t, store.Delete(t.Context(), "r/aa/1.wav"))
		_, err := store.Stat(t.Context(), "r/aa/1.wav")
		require.Equal(t, job.NotFound, job.KindOf(err))
	}
}

func TestAnObjectThatBreaksOffIsNotStored(t *testing.T) {
	store := open(t, start(t, t.TempDir()))
	for _, size := range []int{10, 300_000, 6 << 20} {
		link, fields, err := store.PresignPut(t.Context(), "broken.wav", time.Minute, "audio/wav", 0)
		require.NoError(t, err)
		u, err := url.Parse(link)
		require.NoError(t, err)
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nIf-None-Match: %s\r\nContent-Length: %d\r\n\r\n%s",
			u.RequestURI(), u.Host, fields["Content-Type"], fields["If-None-Match"], size+1, strings.Repeat("x", size))
		require.NoError(t, err)
		tcp, ok := c.(*net.TCPConn)
		require.True(t, ok)
		require.NoError(t, tcp.CloseWrite())
		said, _ := io.ReadAll(c)
		require.NoError(t, c.Close())
		require.NotContains(t, string(said), " 200 ", "%d bytes", size)
		_, err = store.Stat(t.Context(), "broken.wav")
		require.Equal(t, job.NotFound, job.KindOf(err), "%d bytes", size)
	}
}

// zeros is a reader without end that holds nothing.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestALargeObjectPassesThroughInConstantMemory(t *testing.T) {
	store := open(t, start(t, t.TempDir()))
	transfer := func(size int64) {
		_, err := store.Put(t.Context(), "large.wav", io.LimitReader(zeros{}, size), -1, blob.PutOptions{})
		require.NoError(t, err)
		rc, info, err := store.Get(t.Context(), "large.wav", blob.GetOptions{})
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, rc)
		require.NoError(t, err)
		require.NoError(t, rc.Close())
		require.Equal(t, []int64{size, size}, []int64{n, info.Size})
	}
	transfer(16 << 20)
	before := heapFromSystem()
	transfer(80 << 20)
	if grown := heapFromSystem() - before; grown > 24<<20 {
		t.Errorf("80 MiB cost %d MiB of memory", grown>>20)
	}
}

func heapFromSystem() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys) //nolint:gosec // far below 2^63
}

func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := s3d.Start(b.Context(), s3d.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut stores objects of the size of a segment's audio, durably.
func BenchmarkPut(b *testing.B) {
	store := open(b, start(b, b.TempDir()))
	data := bytes.Repeat([]byte("voicemill"), 96<<10/9)
	n := 0
	for b.Loop() {
		n++
		if _, err := store.Put(b.Context(), fmt.Sprintf("r/%02x/%d.wav", n%256, n), bytes.NewReader(data), int64(len(data)), blob.PutOptions{IfAbsent: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
}
