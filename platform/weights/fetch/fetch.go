package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	tries     = 6
	firstWait = 500 * time.Millisecond
	lastWait  = 15 * time.Second
	stalled   = 30 * time.Second // without a byte
	chunk     = 256 << 10
)

var errStalled = fmt.Errorf("no byte came within %s", stalled)

// Request is one file to download.
type Request struct {
	URL      string
	Token    string // for the header Authorization: Bearer; may be empty
	MaxBytes int64  // a longer file is refused
	// Progress is told of every piece: how much is there, and how much there will
	// be, 0 if that is not known. It may be nil.
	Progress func(have, total int64)
}

// Download fetches q into the file at path, from which it goes on if it is there
// already, and returns when the file is whole. Beside path it keeps path.tag, which
// says which version of the file is there.
func Download(ctx context.Context, client *http.Client, q Request, path string) error {
	if _, err := os.Stat(path + doneMark); err == nil {
		return nil
	}
	var err error
	for try := range tries {
		if try > 0 && !pause(ctx, try) {
			return context.Cause(ctx)
		}
		if err = attempt(ctx, client, q, path); err == nil {
			return os.WriteFile(path+doneMark, nil, 0o600)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !job.Retryable(err) {
			return err
		}
	}
	return err
}

// Remove forgets a download.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"", tagMark, doneMark} {
		if err := os.Remove(path + suffix); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const (
	tagMark  = ".tag"
	doneMark = ".done"
)

// pause waits before another try; it returns false if ctx ends.
func pause(ctx context.Context, try int) bool {
	wait := min(firstWait<<(try-1), lastWait)
	return lifecycle.Sleep(ctx, wait/2+rand.N(wait))
}

// attempt makes one request and appends what comes to the file at path.
func attempt(ctx context.Context, client *http.Client, q Request, path string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stalled, func() { cancel(errStalled) })
	defer watch.Stop()

	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the store's own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	resp, err := ask(ctx, client, q, have, path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	total, err := place(resp, &have)
	if err != nil {
		return err
	}
	if max(total, have) > q.MaxBytes {
		return &job.Error{Op: "fetch.Download", Kind: job.TooLarge, Public: fmt.Sprintf("The file has %d bytes; at most %d are taken.", total, q.MaxBytes)}
	}
	if err := errors.Join(f.Truncate(have), os.WriteFile(path+tagMark, []byte(tagOf(resp)), 0o600)); err != nil {
		return err
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return err
	}
	n, err := copyAll(f, &watched{resp.Body, watch}, have, total, q)
	switch {
	case err != nil && ctx.Err() != nil:
		return unavailable(context.Cause(ctx))
	case err != nil:
		return err
	case total > 0 && have+n != total:
		return unavailable(io.ErrUnexpectedEOF)
	}
	return nil
}

func ask(ctx context.Context, client *http.Client, q Request, have int64, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.URL, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if q.Token != "" {
		req.Header.Set("Authorization", "Bearer "+q.Token)
	}
	req.Header.Set("Accept-Encoding", "identity")
	// Without a tag nobody knows of what it is the beginning.
	if tag, _ := os.ReadFile(path + tagMark); have > 0 && len(tag) > 0 { //nolint:gosec // the store's own
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", string(tag))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, unavailable(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	}
	_ = resp.Body.Close()
	err = fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusRequestedRangeNotSatisfiable: // the file is not what it was: from its beginning
		return nil, errors.Join(unavailable(err), os.Remove(path+tagMark))
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return nil, unavailable(err)
	}
	return nil, &job.Error{Op: "fetch.Download", Kind: job.NotFound, Public: "The file cannot be downloaded from where it should be.", Err: err}
}

// place returns how long the whole file is, 0 if that is not said, and sets have to
// where the answer begins.
func place(resp *http.Response, have *int64) (total int64, err error) {
	if resp.StatusCode == http.StatusOK {
		*have = 0
		return max(resp.ContentLength, 0), nil
	}
	// bytes 100-199/200
	span, length, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "/")
	from, _, _ := strings.Cut(span, "-")
	begin, beginErr := strconv.ParseInt(from, 10, 64)
	total, totalErr := strconv.ParseInt(length, 10, 64)
	if !ok || beginErr != nil || totalErr != nil || begin != *have || total < begin {
		return 0, unavailable(fmt.Errorf("the server answered from byte %s of %s when it was asked for %d", from, length, *have))
	}
	return total, nil
}

// tagOf returns what tells this version of a file from others; a weak tag does not.
func tagOf(resp *http.Response) string {
	if tag := resp.Header.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return resp.Header.Get("Last-Modified")
}

func copyAll(w io.Writer, r io.Reader, have, total int64, q Request) (n int64, err error) {
	buf := make([]byte, chunk)
	for {
		m, err := r.Read(buf)
		if have+n+int64(m) > q.MaxBytes {
			return n, &job.Error{Op: "fetch.Download", Kind: job.TooLarge, Public: fmt.Sprintf("The file has more than %d bytes.", q.MaxBytes)}
		}
		if m > 0 {
			if _, err := w.Write(buf[:m]); err != nil {
				return n, err
			}
			n += int64(m)
			if q.Progress != nil {
				q.Progress(have+n, total)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, unavailable(err)
		}
	}
}

// watched puts a watchdog off with every read.
type watched struct {
	io.Reader

	watch *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	w.watch.Reset(stalled)
	return w.Reader.Read(p)
}

func unavailable(err error) error {
	return &job.Error{Op: "fetch.Download", Kind: job.Unavailable, Public: "The download did not go through.", Err: err}
}
