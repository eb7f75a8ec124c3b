package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

const (
	uploadTries = 5
	uploadPause = 250 * time.Millisecond
	// uploadStall ends an upload that does not move; a slow one may take as long as its URL works.
	uploadStall = 30 * time.Second
)

var errUploadStalled = errors.New("the upload did not move for a while")

// upload brings the document into the bucket and returns the id to submit. A
// PUT that breaks is made again from the start, to the same place. key makes
// the same place out of the same document when the command itself is repeated.
func (s *Session) upload(ctx context.Context, con *console.Console, d *document, media, key string) (string, error) {
	u, err := s.calls.CreateUploadOnce(ctx, key+".upload", media, d.size)
	if err != nil {
		return "", err
	}
	if u.MaxBytes > 0 && d.size > u.MaxBytes {
		return "", &ExitError{Code: ExitRefused, Err: fmt.Errorf("%s has %d bytes; the server takes at most %d", d.name, d.size, u.MaxBytes)}
	}
	meter := newTransfer(con.ErrScreen())
	defer meter.close()
	meter.begin(d.name, d.size)
	defer meter.end()
	pause := uploadPause
	for try := 1; ; try++ {
		err := s.put(ctx, u, d, meter)
		if err == nil || conflicts(err) {
			return u.ID, nil // there already, or expired, which the submit is told
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if time.Now().After(u.ExpiresAt.Time) { // the place of a command that is repeated: its submit is answered as before
			return u.ID, nil
		}
		if try == uploadTries || !away(err) && !errors.Is(err, errUploadStalled) {
			return "", fmt.Errorf("upload %s: %w", d.name, err)
		}
		if !lifecycle.Sleep(ctx, pause) {
			return "", ctx.Err()
		}
		pause *= 2
	}
}

func conflicts(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return ok && p.Kind() == job.Conflict
}

// put streams the document to the bucket once.
func (s *Session) put(ctx context.Context, u *client.Upload, d *document, meter *transfer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(uploadStall, func() { cancel(errUploadStalled) })
	defer watchdog.Stop()
	var sent int64
	body := &counted{r: io.NewSectionReader(d, 0, d.size), count: func(n int) {
		watchdog.Reset(uploadStall)
		sent += int64(n)
		meter.add(sent)
	}}
	send := s.calls.Put
	if s.through {
		send = s.calls.PutContent
	}
	err := send(ctx, u, body, d.size)
	if err != nil && errors.Is(context.Cause(ctx), errUploadStalled) {
		return errUploadStalled
	}
	return err
}

// counted reports every read.
type counted struct {
	r     io.Reader
	count func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count(n)
	return n, err //nolint:wrapcheck // a reader hands on io.EOF as it is
}
