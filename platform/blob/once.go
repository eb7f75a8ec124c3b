package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
)

// onceBytes is the most that S3 takes in one request.
const onceBytes = 5 << 30

// PutOnce is [Store.Put] for a reader that takes its time, such as a client that
// uploads: what it yields goes straight to the server, so that any number may run
// at a time and hold nothing but what is on its way. A request that fails is not
// sent again. While the reader waits nothing counts as stalled; the reader must
// end by itself. It may be read for a moment after PutOnce has returned with an
// error. size must be known and at most 5 GiB.
func (s *Store) PutOnce(ctx context.Context, key string, r io.Reader, size int64, opts PutOptions) (Info, error) {
	if err := ValidKey(key); err != nil {
		return Info{}, err
	}
	if size < 0 || size > onceBytes {
		return Info{}, &job.Error{Op: "blob.PutOnce", Kind: job.TooLarge, Err: fmt.Errorf("%s: %d bytes; want 0 to %d", key, size, int64(onceBytes))}
	}
	p := newPut(s, key, size, opts)
	got, err := p.once(ctx, io.TeeReader(r, p.sum))
	if err == nil {
		p.read = size
		err = p.confirm(ctx)
	}
	if _, ours := errors.AsType[*job.Error](err); err != nil && !ours && opts.IfAbsent {
		// A server that has the object may answer before it has read this one, and close.
		if there, serr := s.Stat(ctx, key); serr == nil {
			there.Existed = true
			return there, nil
		}
	}
	err = classify("PutOnce", key, err)
	s.writes.done(err)
	if err != nil {
		return Info{}, err
	}
	return got, nil
}

func (p *put) once(ctx context.Context, r io.Reader) (Info, error) {
	ctx, dog, stop := watch(ctx)
	defer stop()
	src := &source{p: p, r: r, dog: dog, failed: make(chan error, 1)}
	up, err := p.s.core.PutObject(ctx, p.s.cfg.Bucket, p.key, src, p.size, "", "", p.options())
	if err != nil {
		select {
		case cause := <-src.failed: // that of the client of the server says only that it broke off
			return Info{}, cause
		default:
			return Info{}, because(ctx, err)
		}
	}
	got := p.inOne(up)
	got.Size = p.size
	return got, nil
}

// source gives what a reader yields to the client. It cannot seek, which tells
// the client to send it once only.
type source struct {
	p      *put
	r      io.Reader
	dog    watchdog
	read   int64
	failed chan error // the reader's first failure
}

// Read reads on. The watchdog sleeps while the reader is waited for. The last
// bytes are held back until the reader is known to have no more.
func (s *source) Read(b []byte) (int, error) {
	if left := s.p.size - s.read; int64(len(b)) > left {
		b = b[:left]
	}
	if len(b) == 0 {
		return 0, io.EOF
	}
	s.dog.timer.Stop()
	n, err := s.r.Read(b)
	s.read += int64(n)
	switch {
	case s.read == s.p.size:
		err = s.p.ended(s.r)
	case err != nil:
		err = s.p.short(err)
	}
	if err != nil {
		n = 0
		select {
		case s.failed <- err:
		default:
		}
	}
	if err != nil || s.read < s.p.size {
		s.dog.timer.Reset(stallAfter)
		return n, err
	}
	s.dog.timer.Reset(settling(s.p.size)) // the server stores it now
	return n, io.EOF
}

var errManySlow = errors.New("as many uploads of unknown size as there may be")
