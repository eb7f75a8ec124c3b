package blobtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
)

// Run checks the store that open returns, an empty bucket at each call.
func Run(t *testing.T, open func(*testing.T) *blob.Store) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, *blob.Store){
		"put and get are identical at every size":      roundTrips,
		"put twice is one object":                      putTwice,
		"sixteen conditional writers store one object": race,
		"a reader that fails stores nothing":           failingReader,
		"a reader of another size stores nothing":      wrongSize,
		"what is put once is as what is put":           once,
		"slow readers of unknown size are bounded":     slow,
		"what is in memory waits for nobody":           inMemory,
		"ranges are read exactly":                      ranges,
		"a wrong ETag is a conflict":                   wrongETag,
		"what is not there is not found":               notFound,
		"listing yields every key once":                listing,
		"random access sees the same bytes":            randomAccess,
		"a presigned URL gives away one object":        presignedGet,
		"a presigned URL takes one object":             presignedPut,
		"an upload left behind is swept":               sweep,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}

// pattern returns n bytes that differ from offset to offset.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b) // never fails
	return b
}

func put(t *testing.T, s *blob.Store, key string, data []byte) blob.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), blob.PutOptions{ContentType: "audio/wav"})
	if err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
	return info
}

func get(t *testing.T, s *blob.Store, key string, opts blob.GetOptions) ([]byte, blob.Info) {
	t.Helper()
	rc, info, err := s.Get(t.Context(), key, opts)
	if err != nil {
		t.Fatalf("Get(%s, %+v): %v", key, opts, err)
	}
	data, err := io.ReadAll(rc)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	if err := rc.Close(); err != nil {
		t.Fatalf("close %s: %v", key, err)
	}
	return data, info
}

func wantKind(t *testing.T, what string, err error, want job.Kind) {
	t.Helper()
	if err == nil || job.KindOf(err) != want {
		t.Errorf("%s = %v; want kind %s", what, err, want)
	}
}

func roundTrips(t *testing.T, s *blob.Store) {
	t.Helper()
	for _, n := range []int{0, 1, 96 << 10, 5<<20 - 1, 5 << 20, 5<<20 + 1, 10 << 20, 12<<20 + 7} {
		for how, size := range map[string]int64{"known": int64(n), "unknown": -1} {
			key, want := fmt.Sprintf("t/%s/%d.wav", how, n), pattern(n)
			put, err := s.Put(t.Context(), key, io.MultiReader(bytes.NewReader(want)), size, blob.PutOptions{ContentType: "audio/wav"})
			if err != nil {
				t.Fatalf("Put(%s): %v", key, err)
			}
			got, info := get(t, s, key, blob.GetOptions{IfMatch: put.ETag})
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes came back different from the %d that were put", key, len(got), n)
			}
			if info.Size != int64(n) || put.Size != int64(n) || info.ETag != put.ETag || info.ContentType != "audio/wav" {
				t.Errorf("%s: Get info = %+v; Put info = %+v", key, info, put)
			}
		}
	}
}

func putTwice(t *testing.T, s *blob.Store) {
	t.Helper()
	first := put(t, s, "t/a.wav", []byte("first"))
	opts := blob.PutOptions{IfAbsent: true}
	again, err := s.Put(t.Context(), "t/a.wav", strings.NewReader("second one"), 10, opts)
	if err != nil || !again.Existed || again.ETag != first.ETag || again.Size != 5 {
		t.Errorf("second Put = %+v, %v; want the first object", again, err)
	}
	large, err := s.Put(t.Context(), "t/a.wav", bytes.NewReader(pattern(11<<20)), -1, opts)
	if err != nil || !large.Existed || large.ETag != first.ETag {
		t.Errorf("Put in parts = %+v, %v; want the first object", large, err)
	}
	if got, _ := get(t, s, "t/a.wav", blob.GetOptions{}); string(got) != "first" {
		t.Errorf("the object holds %q; want %q", got, "first")
	}
}

func race(t *testing.T, s *blob.Store) {
	t.Helper()
	var all sync.WaitGroup
	var winners atomic.Int64
	for i := range 16 {
		all.Go(func() {
			info, err := s.Put(t.Context(), "t/one.wav", bytes.NewReader(pattern(1000+i)), int64(1000+i), blob.PutOptions{IfAbsent: true})
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			if !info.Existed {
				winners.Add(1)
			}
		})
	}
	all.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d writers stored the object; want 1", winners.Load())
	}
}

// failing is a reader that breaks after some bytes.
type failing struct {
	left  int
	cause error
}

// causes are what a reader may break of: those that look like its end are none.
func causes() []error { return []error{nil, io.EOF, io.ErrUnexpectedEOF} }

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, &job.Error{Op: "test", Kind: job.Engine, Err: f.cause}
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

func once(t *testing.T, s *blob.Store) {
	t.Helper()
	for _, n := range []int{0, 1, 65_536, 11 << 20} {
		key := fmt.Sprintf("t/once-%d.txt", n)
		data := pattern(n)
		for i, existed := range []bool{false, true} {
			info, err := s.PutOnce(t.Context(), key, bytes.NewReader(data), int64(n), blob.PutOptions{ContentType: "text/plain", IfAbsent: true})
			if err != nil || info.Size != int64(n) || info.Existed != existed {
				t.Fatalf("PutOnce of %d bytes, time %d: %+v, %v", n, i, info, err)
			}
		}
		r, info, err := s.Get(t.Context(), key, blob.GetOptions{})
		if err != nil || info.ContentType != "text/plain" {
			t.Fatalf("Get: %+v, %v", info, err)
		}
		got, err := io.ReadAll(r)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
		}
	}
	for _, size := range []int64{99, 101, 7<<20 - 1, 7<<20 + 1} {
		n := 100
		if size > 1000 {
			n = 7 << 20
		}
		_, err := s.PutOnce(t.Context(), "t/once-wrong.txt", bytes.NewReader(pattern(n)), size, blob.PutOptions{})
		wantKind(t, fmt.Sprintf("PutOnce of %d bytes as %d", n, size), err, job.Internal)
	}
	for _, n := range []int{100, 7 << 20} {
		for _, cause := range causes() {
			_, err := s.PutOnce(t.Context(), "t/once-wrong.txt", &failing{n, cause}, int64(n+1), blob.PutOptions{})
			wantKind(t, fmt.Sprintf("PutOnce of a reader that fails of %v", cause), err, job.Engine)
		}
	}
	_, err := s.PutOnce(t.Context(), "t/once-wrong.txt", bytes.NewReader(nil), -1, blob.PutOptions{})
	wantKind(t, "PutOnce of unknown size", err, job.TooLarge)
	_, err = s.Stat(t.Context(), "t/once-wrong.txt")
	wantKind(t, "Stat", err, job.NotFound)
}

func slow(t *testing.T, s *blob.Store) {
	t.Helper()
	const most = 4
	var all sync.WaitGroup
	var writers []*io.PipeWriter
	for i := range most {
		r, w := io.Pipe()
		writers = append(writers, w)
		all.Go(func() {
			info, err := s.Put(t.Context(), fmt.Sprintf("t/slow-%d", i), r, -1, blob.PutOptions{Slow: true})
			if err != nil || info.Size != 1 {
				t.Errorf("slow put: %+v, %v", info, err)
			}
		})
		if _, err := w.Write([]byte("x")); err != nil { // taken, so its memory is, too
			t.Fatal(err)
		}
	}
	_, err := s.Put(t.Context(), "t/slow-more", strings.NewReader("x"), -1, blob.PutOptions{Slow: true})
	wantKind(t, "one too many", err, job.Overloaded)
	put(t, s, "t/not-slow", pattern(7<<20)) // does not wait for them
	for _, w := range writers {
		_ = w.Close()
	}
	all.Wait()
	if _, err := s.Put(t.Context(), "t/slow-more", strings.NewReader("x"), -1, blob.PutOptions{Slow: true}); err != nil {
		t.Errorf("when they are over: %v", err)
	}
}

// inMemory stores a rendition while as many long uploads run as may.
func inMemory(t *testing.T, s *blob.Store) {
	t.Helper()
	var all sync.WaitGroup
	defer all.Wait()
	for i := range 2 {
		r, w := io.Pipe()
		defer func() { _ = w.Close() }()
		all.Go(func() {
			if _, err := s.Put(t.Context(), fmt.Sprintf("t/long-%d", i), r, -1, blob.PutOptions{}); err != nil {
				t.Errorf("long put: %v", err)
			}
		})
		if _, err := w.Write([]byte("x")); err != nil { // taken, so its memory is, too
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	want := pattern(1 << 20)
	info, err := s.Put(ctx, "t/held.wav", bytes.NewReader(want), int64(len(want)), blob.PutOptions{})
	if err != nil || info.Size != int64(len(want)) {
		t.Fatalf("Put beside long uploads: %+v, %v", info, err)
	}
	if got, _ := get(t, s, "t/held.wav", blob.GetOptions{}); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back; want the %d that were put", len(got), len(want))
	}
}

func failingReader(t *testing.T, s *blob.Store) {
	t.Helper()
	for _, n := range []int{100, 7 << 20} {
		for _, size := range []int64{-1, int64(n), int64(n + 1)} {
			for _, cause := range causes() {
				_, err := s.Put(t.Context(), "t/broken.wav", &failing{n, cause}, size, blob.PutOptions{})
				wantKind(t, fmt.Sprintf("Put of %d bytes of a reader that fails of %v after %d", size, cause, n), err, job.Engine)
			}
		}
	}
	_, err := s.Stat(t.Context(), "t/broken.wav")
	wantKind(t, "Stat", err, job.NotFound)
	if n, err := s.SweepUploads(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Errorf("%d uploads were left behind, %v", n, err)
	}
}

func wrongSize(t *testing.T, s *blob.Store) {
	t.Helper()
	for _, n := range []int{100, 11 << 20} {
		for _, size := range []int64{int64(n - 1), int64(n + 1)} {
			_, err := s.Put(t.Context(), "t/size.wav", bytes.NewReader(pattern(n)), size, blob.PutOptions{})
			wantKind(t, fmt.Sprintf("Put of %d bytes as %d", n, size), err, job.Internal)
		}
	}
	_, err := s.Stat(t.Context(), "t/size.wav")
	wantKind(t, "Stat", err, job.NotFound)
}

func ranges(t *testing.T, s *blob.Store) {
	t.Helper()
	want := pattern(1000)
	put(t, s, "t/r.bin", want)
	for _, r := range []struct{ offset, length, from, to int64 }{
		{0, 0, 0, 1000},
		{0, 10, 0, 10},
		{990, 0, 990, 1000},
		{990, 100, 990, 1000},
		{999, 1, 999, 1000},
	} {
		got, info := get(t, s, "t/r.bin", blob.GetOptions{Offset: r.offset, Length: r.length})
		if !bytes.Equal(got, want[r.from:r.to]) || info.Size != 1000 {
			t.Errorf("Get of %d at %d = %d bytes of %d; want bytes %d to %d", r.length, r.offset, len(got), info.Size, r.from, r.to)
		}
	}
	_, _, err := s.Get(t.Context(), "t/r.bin", blob.GetOptions{Offset: 1000})
	wantKind(t, "Get behind the end", err, job.Invalid)
}

func wrongETag(t *testing.T, s *blob.Store) {
	t.Helper()
	put(t, s, "t/e.bin", []byte("x"))
	_, _, err := s.Get(t.Context(), "t/e.bin", blob.GetOptions{IfMatch: strings.Repeat("0", 32)})
	wantKind(t, "Get", err, job.Conflict)
	_, _, err = s.ReaderAt(t.Context(), "t/e.bin", strings.Repeat("0", 32))
	wantKind(t, "ReaderAt", err, job.Conflict)
}

func notFound(t *testing.T, s *blob.Store) {
	t.Helper()
	_, err := s.Stat(t.Context(), "t/none")
	wantKind(t, "Stat", err, job.NotFound)
	_, _, err = s.Get(t.Context(), "t/none", blob.GetOptions{})
	wantKind(t, "Get", err, job.NotFound)
	_, _, err = s.ReaderAt(t.Context(), "t/none", "")
	wantKind(t, "ReaderAt", err, job.NotFound)
	if err := s.Delete(t.Context(), "t/none"); err != nil {
		t.Errorf("Delete = %v; want nil", err)
	}
	put(t, s, "t/some", []byte("x"))
	if err := s.Delete(t.Context(), "t/some"); err != nil {
		t.Errorf("Delete = %v; want nil", err)
	}
	_, err = s.Stat(t.Context(), "t/some")
	wantKind(t, "Stat of a deleted object", err, job.NotFound)
	put(t, s, "t/some", []byte("y"))
}

func listing(t *testing.T, s *blob.Store) {
	t.Helper()
	want := map[string]bool{}
	for i := range 30 {
		key := fmt.Sprintf("renditions/default/%02x/%d.wav", i%3, i)
		want[key] = true
		put(t, s, key, []byte("x"))
	}
	put(t, s, "uploads/default/upl_1", []byte("x"))
	seen, last := 0, ""
	for info, err := range s.List(t.Context(), "renditions/default/") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if !want[info.Key] || info.Size != 1 || info.Key <= last {
			t.Errorf("List yields %+v after %q", info, last)
		}
		seen, last = seen+1, info.Key
	}
	if seen != len(want) {
		t.Errorf("List yields %d objects; want %d", seen, len(want))
	}
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Errorf("List, left after the first object: %v", err)
		}
		break // an iteration may be left
	}
}

func randomAccess(t *testing.T, s *blob.Store) {
	t.Helper()
	const size = 3<<20 + 11
	want := pattern(size)
	info := put(t, s, "t/book.epub", want)
	r, n, err := s.ReaderAt(t.Context(), "t/book.epub", info.ETag)
	if err != nil || n != size {
		t.Fatalf("ReaderAt = size %d, %v; want %d", n, err, size)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		off := random.Int64N(size)
		got := make([]byte, min(random.Int64N(600_000)+1, size-off))
		if n, err := r.ReadAt(got, off); err != nil || n != len(got) || !bytes.Equal(got, want[off:off+int64(n)]) {
			t.Fatalf("ReadAt(%d bytes at %d) = %d, %v, or other bytes", len(got), off, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 10), size-4); n != 4 || err != io.EOF {
		t.Errorf("ReadAt over the end = %d, %v; want 4, EOF", n, err)
	}
	if whole, err := io.ReadAll(io.NewSectionReader(r, 0, size)); err != nil || !bytes.Equal(whole, want) {
		t.Errorf("reading through = %d bytes, %v", len(whole), err)
	}
	put(t, s, "t/book.epub", []byte("another book"))
	_, err = r.ReadAt(make([]byte, 1), size/2)
	if err == nil { // the block may be in memory; this one is not
		_, err = r.ReadAt(make([]byte, 1), 0)
	}
	wantKind(t, "ReadAt of a changed object", err, job.Conflict)
}
