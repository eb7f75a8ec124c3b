package blob

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
)

// inMemory is a reader of what is in memory, such as [bytes.Reader] and wav's File: to
// read it again costs nothing to speak of.
type inMemory interface {
	io.ReadSeeker
	Size() int64 // of all
	Len() int    // that is still to be read
}

// PutOptions say how an object is stored.
type PutOptions struct {
	ContentType string // default application/octet-stream
	IfAbsent    bool   // leave an object that is there as it is, and call that success
	Slow        bool   // Put only: the reader may take its time; at most four such run at a time, more are Overloaded
	Once        bool   // Put only: what has a known size of at most 5 GiB is sent as by [Store.PutOnce]
}

const (
	// The store may copy all parts before it answers; it manages at least this.
	copyBytesPerSecond = 20 << 20
	completeAtLeast    = time.Minute
	abortTimeout       = 10 * time.Second
)

// Put stores what r holds, size bytes, or up to r's end if size is -1. The
// object is there when Put returns nil and never before all of it is; the store
// was asked, and keeps the size and, where it tells, the checksum of what was sent.
// A reader with more or fewer bytes than size is an error. On an error the object
// may or may not be there; putting the same bytes again is safe. r is not closed.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64, opts PutOptions) (Info, error) {
	if err := ValidKey(key); err != nil {
		return Info{}, err
	}
	if size > int64(partBytes)*maxParts {
		return Info{}, &job.Error{Op: "blob.Put", Kind: job.TooLarge, Err: fmt.Errorf("%s: %d bytes are more than one object may hold", key, size)}
	}
	if opts.Once && size >= 0 && size <= onceBytes {
		return s.PutOnce(ctx, key, r, size, opts)
	}
	p := newPut(s, key, size, opts)
	var got Info
	var err error
	if data, ok := r.(inMemory); ok && size <= partBytes && data.Size() == size && int64(data.Len()) == size {
		got, err = p.held(ctx, data)
	} else {
		got, err = p.run(ctx, io.TeeReader(r, p.sum))
	}
	if err == nil {
		err = p.confirm(ctx)
	}
	if err != nil && opts.IfAbsent && exists(err) {
		got, err = s.Stat(ctx, key)
		got.Existed = true
	}
	err = classify("Put", key, err)
	s.writes.done(err)
	if err != nil {
		return Info{}, err
	}
	return got, nil
}

// put is one call of Put.
type put struct {
	s    *Store
	key  string
	size int64 // -1 if unknown
	opts PutOptions
	read int64     // bytes taken from the reader so far
	sum  hash.Hash // of them
	told string    // the checksum of what is kept, if the answer to the request says it
}

func newPut(s *Store, key string, size int64, opts PutOptions) *put {
	return &put{s: s, key: key, size: size, opts: opts, sum: minio.ChecksumCRC64NVME.Hasher()}
}

func (p *put) run(ctx context.Context, r io.Reader) (Info, error) {
	if p.size >= 0 && p.size <= partBytes/8 {
		return p.small(ctx, r, make([]byte, p.size))
	}
	memory := p.s.parts
	take := func() (*[partBytes]byte, error) { return memory.wait(ctx) }
	if p.opts.Slow {
		memory = p.s.slow
		take = memory.now
	}
	part, err := take()
	if err != nil {
		return Info{}, err
	}
	defer memory.back(part)
	buf := part[:]
	first, last, err := p.fill(r, buf)
	if err != nil {
		return Info{}, err
	}
	if last {
		return p.whole(ctx, first)
	}
	return p.inParts(ctx, r, buf)
}

// held stores what is in memory already, and fits in one request: it needs no part,
// and so waits for nobody who has one.
func (p *put) held(ctx context.Context, data inMemory) (Info, error) {
	if _, err := io.Copy(p.sum, data); err != nil {
		return Info{}, p.source(err)
	}
	if _, err := data.Seek(0, io.SeekStart); err != nil {
		return Info{}, p.source(err)
	}
	p.read = p.size
	return p.send(ctx, data)
}

// small stores an object that has a buffer of its own size.
func (p *put) small(ctx context.Context, r io.Reader, buf []byte) (Info, error) {
	if _, err := full(r, buf); err != nil {
		return Info{}, p.short(err)
	}
	p.read = p.size
	if err := p.ended(r); err != nil {
		return Info{}, err
	}
	return p.whole(ctx, buf)
}

// fill reads the next part. last is true if nothing follows it.
func (p *put) fill(r io.Reader, buf []byte) (part []byte, last bool, err error) {
	if p.size >= 0 {
		buf = buf[:min(int64(len(buf)), p.size-p.read)]
	}
	n, err := full(r, buf)
	p.read += int64(n)
	switch {
	case p.size >= 0 && err != nil:
		return nil, false, p.short(err)
	case p.size >= 0 && p.read == p.size:
		return buf, true, p.ended(r)
	case err == io.EOF: //nolint:errorlint // see full
		return buf[:n], true, nil
	case err != nil:
		return nil, false, p.source(err)
	}
	return buf, false, nil
}

// full is [io.ReadFull] but for r's end, which is io.EOF itself wherever it comes. Any
// other error is a failure of r, such as of an object that is read to be stored: it may
// wrap io.EOF or io.ErrUnexpectedEOF, and keeps its kind.
func full(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	if n == len(buf) {
		err = nil
	}
	return n, err
}

// ended makes sure that a reader has nothing beyond the size that was promised.
func (p *put) ended(r io.Reader) error {
	n, err := full(r, make([]byte, 1))
	if n > 0 {
		return &job.Error{Op: "blob.Put", Kind: job.Internal, Err: fmt.Errorf("%s: the reader has more than the %d bytes it was said to have", p.key, p.size)}
	}
	if err == io.EOF { //nolint:errorlint // see full
		return nil
	}
	return p.source(err)
}

// short says why r yielded less than it was said to have.
func (p *put) short(err error) error {
	if err == io.EOF { //nolint:errorlint // see full
		return &job.Error{Op: "blob.Put", Kind: job.Internal, Err: fmt.Errorf("%s: the reader has fewer than the %d bytes it was said to have", p.key, p.size)}
	}
	return p.source(err)
}

// source keeps the kind of the reader's own error.
func (p *put) source(err error) error {
	return &job.Error{Op: "blob.Put", Kind: job.KindOf(err), Err: fmt.Errorf("%s: read what to store: %w", p.key, err)}
}

func (p *put) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType: p.opts.ContentType, DisableContentSha256: p.s.unsigned(), ServerSideEncryption: p.s.sse,
	}
	if o.ContentType == "" {
		o.ContentType = "application/octet-stream"
	}
	if p.opts.IfAbsent {
		o.SetMatchETagExcept("*")
	}
	return o
}

func (p *put) whole(ctx context.Context, data []byte) (Info, error) {
	return p.send(ctx, bytes.NewReader(data))
}

// send stores all of data in one request.
func (p *put) send(ctx context.Context, data inMemory) (Info, error) {
	ctx, dog, stop := watch(ctx)
	defer stop()
	up, err := p.s.core.PutObject(ctx, p.s.cfg.Bucket, p.key, newBody(data, dog), data.Size(), "", "", p.options())
	if err != nil {
		return Info{}, because(ctx, err)
	}
	return p.inOne(up), nil
}

// inParts stores the first part, which is in buf, and the rest through buf.
func (p *put) inParts(ctx context.Context, r io.Reader, buf []byte) (_ Info, err error) {
	start, cancel := context.WithTimeoutCause(ctx, smallTimeout, errStalled)
	id, err := p.s.core.NewMultipartUpload(start, p.s.cfg.Bucket, p.key, minio.PutObjectOptions{
		ContentType: p.options().ContentType, ServerSideEncryption: p.s.sse,
	})
	cancel()
	if err != nil {
		return Info{}, err
	}
	defer func() {
		if err != nil { // what is stored so far would stay for ever
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
			defer cancel()
			_ = p.s.core.AbortMultipartUpload(ctx, p.s.cfg.Bucket, p.key, id) // SweepUploads does it later
		}
	}()
	var parts []minio.CompletePart
	for part, last := buf, false; ; {
		done, err := p.part(ctx, id, len(parts)+1, part)
		if err != nil {
			return Info{}, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: done.PartNumber, ETag: done.ETag})
		if last {
			break
		}
		if part, last, err = p.fill(r, buf); err != nil {
			return Info{}, err
		}
		if len(part) == 0 {
			break // the reader ended with the part before
		}
		if len(parts) == maxParts {
			return Info{}, &job.Error{Op: "blob.Put", Kind: job.TooLarge, Err: fmt.Errorf("%s: more than %d parts", p.key, maxParts)}
		}
	}
	end, cancel := context.WithTimeoutCause(ctx, settling(p.read), errStalled)
	defer cancel()
	up, err := p.s.core.CompleteMultipartUpload(end, p.s.cfg.Bucket, p.key, id, parts, p.options())
	if err != nil {
		return Info{}, because(end, err)
	}
	return p.stored(up), nil
}

// settling is how long the server may take once it has all of an object.
func settling(size int64) time.Duration {
	return completeAtLeast + time.Duration(size/copyBytesPerSecond)*time.Second
}

func (p *put) part(ctx context.Context, id string, n int, data []byte) (minio.ObjectPart, error) {
	ctx, dog, stop := watch(ctx)
	defer stop()
	done, err := p.s.core.PutObjectPart(ctx, p.s.cfg.Bucket, p.key, id, n, newBody(bytes.NewReader(data), dog), int64(len(data)), minio.PutObjectPartOptions{DisableContentSha256: p.s.unsigned()})
	return done, because(ctx, err)
}

// inOne is stored for what went in one request.
func (p *put) inOne(up minio.UploadInfo) Info {
	if p.s.syncs && up.ChecksumMode == wholeObject {
		p.told = up.ChecksumCRC64NVME
	}
	return p.stored(up)
}

func (p *put) stored(up minio.UploadInfo) Info {
	return Info{Key: p.key, Size: p.read, ETag: up.ETag, ContentType: p.options().ContentType, LastModified: up.LastModified}
}

// because names the reason for which ctx ended, if that is why err came.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
