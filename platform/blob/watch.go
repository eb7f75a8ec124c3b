package blob

import (
	"context"
	"io"
	"sync"
	"time"
)

// watchdog ends a context when it has not been touched for stallAfter.
type watchdog struct {
	timer *time.Timer
}

// watch returns a context that ends with cause errStalled unless touched. The
// caller calls stop.
func watch(ctx context.Context) (_ context.Context, w watchdog, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w = watchdog{timer: time.AfterFunc(stallAfter, func() { cancel(errStalled) })}
	return ctx, w, func() { w.timer.Stop(); cancel(context.Canceled) }
}

// body is a part in memory whose every read touches the watchdog. The client
// reads and signs 64 KiB at a time, so an upload that moves less than that in
// stallAfter counts as stalled. It can seek, so that the client may send it again:
// after an early answer it does so while the transport of the former try may still
// read, which the lock keeps apart. Should that one take bytes of the next try, the next
// is short, and fails.
type body struct {
	io.ReadSeeker

	dog watchdog
	mu  *sync.Mutex // guards ReadSeeker
}

func newBody(data io.ReadSeeker, dog watchdog) body { return body{data, dog, new(sync.Mutex)} }

// Read touches the watchdog.
func (b body) Read(p []byte) (int, error) {
	b.dog.timer.Reset(stallAfter)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ReadSeeker.Read(p)
}

// Seek implements io.Seeker.
func (b body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ReadSeeker.Seek(offset, whence)
}

// WriteTo is cut into reads: the whole would count as one touch.
func (b body) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

// download is the content of an object. It ends the request when one Read
// waits for longer than stallAfter; a reader that takes its time does not.
type download struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // the request's own, to tell why it ended
	dog  watchdog
	stop func()
}

// Read reads on.
func (d *download) Read(p []byte) (int, error) {
	d.dog.timer.Reset(stallAfter)
	n, err := d.ReadCloser.Read(p)
	d.dog.timer.Stop()
	if err != nil && err != io.EOF { //nolint:errorlint // a Reader returns io.EOF itself
		if cause := context.Cause(d.ctx); cause != nil {
			err = cause
		}
		err = classify("Get", "read", err)
	}
	return n, err
}

// Close ends the request; what was not read is dropped.
func (d *download) Close() error {
	d.stop()
	return d.ReadCloser.Close()
}
