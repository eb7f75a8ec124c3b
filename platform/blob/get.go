package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
)

// GetOptions say which part of which version is read.
type GetOptions struct {
	IfMatch string // ETag that the object must have; empty: any
	Offset  int64  // first byte
	Length  int64  // bytes at most; 0: to the end
}

// Get reads an object or a range of it. The caller closes the reader, whose
// errors are classified too. Info.Size is that of the whole object. The error
// has kind NotFound if there is no such object, Conflict if it has another
// ETag, Invalid if the range begins at or after its end.
func (s *Store) Get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error) {
	if err := ValidKey(key); err != nil {
		return nil, Info{}, err
	}
	o, err := opts.minio()
	if err != nil {
		return nil, Info{}, err
	}
	ctx, dog, stop := watch(ctx)
	rc, obj, header, err := s.core.GetObject(ctx, s.cfg.Bucket, key, o)
	if err != nil {
		err = because(ctx, err)
		stop()
		return nil, Info{}, classify("Get", key, err)
	}
	dog.timer.Stop()
	got := info(obj)
	got.Key = key
	if whole, ok := wholeSize(header); ok {
		got.Size = whole
	}
	return &download{ReadCloser: rc, ctx: ctx, dog: dog, stop: stop}, got, nil
}

func (o GetOptions) minio() (minio.GetObjectOptions, error) {
	var m minio.GetObjectOptions
	if o.IfMatch != "" {
		if err := m.SetMatchETag(o.IfMatch); err != nil {
			return m, &job.Error{Op: "blob.Get", Kind: job.Invalid, Err: err}
		}
	}
	if o.Offset < 0 || o.Length < 0 {
		return m, &job.Error{Op: "blob.Get", Kind: job.Invalid, Err: fmt.Errorf("range of %d bytes at %d", o.Length, o.Offset)}
	}
	switch {
	case o.Length > 0:
		m.Set("Range", fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1))
	case o.Offset > 0:
		m.Set("Range", fmt.Sprintf("bytes=%d-", o.Offset))
	}
	return m, nil
}

// wholeSize reads the size of the object from the answer to a range request.
func wholeSize(h http.Header) (int64, bool) {
	_, total, ok := strings.Cut(h.Get("Content-Range"), "/")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(total, 10, 64)
	return n, err == nil
}

const (
	blockBytes = 256 << 10
	blocksKept = 4
)

// ReaderAt returns random access to an object, for formats with a directory at
// their end such as zip, and its size. Each read asks for the same version: if
// the object has another ETag than etag, or changes when etag is empty, reads
// fail with kind Conflict. It keeps four blocks of 256 KiB. It is safe for
// concurrent use, one read at a time; ctx bounds all of them.
func (s *Store) ReaderAt(ctx context.Context, key, etag string) (io.ReaderAt, int64, error) {
	st, err := s.Stat(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if etag != "" && etag != st.ETag {
		return nil, 0, &job.Error{Op: "blob.ReaderAt", Kind: job.Conflict, Err: fmt.Errorf("%s: has ETag %s; want %s", key, st.ETag, etag)}
	}
	r := &readerAt{s: s, ctx: ctx, key: key, etag: st.ETag, size: st.Size, turn: make(chan struct{}, 1)}
	return r, st.Size, nil
}

// readerAt reads blocks. turn is held during a read and guards blocks.
type readerAt struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // io.ReaderAt leaves no other way
	key    string
	etag   string
	size   int64
	turn   chan struct{}
	blocks []block // most recently used last
}

type block struct {
	n    int64
	data []byte
}

// ReadAt fills p from offset off on.
func (r *readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &job.Error{Op: "blob.ReadAt", Kind: job.Invalid, Err: fmt.Errorf("%s: offset %d", r.key, off)}
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-r.ctx.Done():
		return 0, classify("ReadAt", r.key, context.Cause(r.ctx))
	}
	total := 0
	for len(p) > 0 {
		if off >= r.size {
			return total, io.EOF
		}
		data, err := r.block(off / blockBytes)
		if err != nil {
			return total, err
		}
		n := copy(p, data[off%blockBytes:])
		p, off, total = p[n:], off+int64(n), total+n
	}
	return total, nil
}

func (r *readerAt) block(n int64) ([]byte, error) {
	for i, b := range r.blocks {
		if b.n == n {
			r.blocks = append(append(r.blocks[:i:i], r.blocks[i+1:]...), b)
			return b.data, nil
		}
	}
	var data []byte // of the block that goes, if one does
	if len(r.blocks) == blocksKept {
		data, r.blocks = r.blocks[0].data, append(r.blocks[:0:0], r.blocks[1:]...)
	}
	start := n * blockBytes
	want := min(blockBytes, r.size-start)
	if int64(cap(data)) < want {
		data = make([]byte, want, min(blockBytes, r.size))
	}
	data = data[:want]
	rc, _, err := r.s.Get(r.ctx, r.key, GetOptions{IfMatch: r.etag, Offset: start, Length: want})
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(rc, data)
	if err := errors.Join(err, rc.Close()); err != nil {
		return nil, classify("ReadAt", r.key, err)
	}
	r.blocks = append(r.blocks, block{n: n, data: data})
	return data, nil
}
