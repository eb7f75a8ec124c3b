package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// contentDocument says what was stored.
type contentDocument struct {
	ID        string `json:"id"`
	MediaType string `json:"media_type"`
	Bytes     int64  `json:"bytes"`
}

// putContent stores the document of an upload for a client that cannot reach the
// bucket. All that can be checked is checked before the body is asked for.
func (a *API) putContent(c *Call) {
	u, size, ok := a.admitContent(c)
	if !ok {
		return
	}
	body := &bounded{r: c.stream.Reader(), left: u.MaxBytes}
	got, existed, err := a.dep.Bucket.Put(c.Context(), u.ObjectKey, u.MediaType, body, size)
	switch {
	case errors.Is(err, errTooLong):
		a.refuse(c, uploadTooLarge, fmt.Sprintf("The document has more than %d bytes.", u.MaxBytes))
	case err != nil:
		a.fail(c, err)
	case existed:
		a.stored(c, got)
	default:
		a.reply(c, http.StatusCreated, &contentDocument{ID: u.ID, MediaType: u.MediaType, Bytes: got.Size})
	}
}

// admitContent finds the upload and checks what the head says of the body. size is
// negative if it does not say how long that is. ok is false if the call was answered.
func (a *API) admitContent(c *Call) (u store.Upload, size int64, ok bool) {
	u, err := a.dep.Store.FindUpload(c.Context(), c.Identity.Tenant, c.params[0])
	switch {
	case err != nil && job.KindOf(err) == job.NotFound:
		a.refuse(c, notFound, "There is no such upload.")
		return u, 0, false
	case err != nil:
		a.fail(c, err)
		return u, 0, false
	case time.Now().After(u.ExpiresAt):
		a.refuse(c, conflict, "This upload has expired; make another.")
		return u, 0, false
	}
	media, _, err := mime.ParseMediaType(string(c.Header("content-type")))
	if err != nil || media != u.MediaType || c.Header("content-encoding") != nil {
		a.refuse(c, mediaType, "Send the document plain, as Content-Type: "+u.MediaType+".")
		return u, 0, false
	}
	if size, ok = a.contentLength(c, u.MaxBytes); !ok {
		return u, 0, false
	}
	switch there, err := a.dep.Bucket.Stat(c.Context(), u.ObjectKey); {
	case err == nil:
		a.stored(c, there)
		return u, 0, false
	case job.KindOf(err) != job.NotFound:
		a.fail(c, err)
		return u, 0, false
	}
	return u, size, true
}

// contentLength reads the length of the body; -1 says that it is chunked.
func (a *API) contentLength(c *Call, most int64) (size int64, ok bool) {
	field := c.Header("content-length")
	switch {
	case field != nil:
	case c.Header("transfer-encoding") != nil:
		return -1, true
	default: // no body at all (RFC 9112 section 6.3), most likely a client that does not know
		a.refuse(c, lengthRequired, "Say how long the document is with Content-Length, or send it in chunks.")
		return 0, false
	}
	size, err := strconv.ParseInt(string(field), 10, 64)
	switch {
	case err != nil || size == 0:
		a.refuse(c, badRequest, "The document is empty.")
		return 0, false
	case size > most:
		a.refuse(c, uploadTooLarge, fmt.Sprintf("The document has %d bytes; at most %d.", size, most))
		return 0, false
	}
	return size, true
}

// stored refuses to store a document twice.
func (a *API) stored(c *Call, there Object) {
	a.refuse(c, conflict, fmt.Sprintf("This upload has its content already: %d bytes.", there.Size))
}

var (
	errTooLong   = &job.Error{Op: "api.putContent", Kind: job.TooLarge, Err: errors.New("the body is larger than the upload may be")}
	errEmptyBody = &BodyError{Status: http.StatusBadRequest, Public: "The document is empty."}
)

// bounded is a body that must not be empty nor longer than it may.
type bounded struct {
	r    io.Reader
	left int64
	some bool
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	b.some = b.some || n > 0
	if errors.Is(err, io.EOF) && !b.some {
		return 0, errEmptyBody
	}
	return n, err
}
