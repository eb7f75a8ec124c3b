package s3d

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// direct answers this process's requests for one object out of the backend: what goes
// over a socket is copied four times on its way, and each copy costs as much as all
// that is done to an object. What it does not know goes over wire, a connection.
type direct struct {
	store  *store
	inside *inside
	wire   http.RoundTripper
}

// Direct returns what answers requests of this process: those that put, get or head
// one object without a connection, the others through wire. It does not look at
// signatures, since whoever is in this process has the keys.
func (s *Server) Direct(wire http.RoundTripper) http.RoundTripper {
	return &direct{store: s.store, inside: &s.inside, wire: wire}
}

// Direct returns wire: the server is another process's.
func (*Account) Direct(wire http.RoundTripper) http.RoundTripper { return wire }

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	bucket, key, ok := objectOf(r)
	if !ok || !d.inside.enter() {
		return d.wire.RoundTrip(r) //nolint:wrapcheck // the caller's own error
	}
	if r.Method == http.MethodPut {
		return d.put(r, bucket, key)
	}
	defer d.inside.leave()
	if r.Body != nil {
		_ = r.Body.Close() // there is nothing in it
	}
	if r.Method == http.MethodHead {
		return d.head(r, bucket, key), nil
	}
	return d.get(r, bucket, key), nil
}

// known are the headers that mean something here, or that only a wire needs.
var known = map[string]bool{
	"Accept-Encoding": true, "Authorization": true, "Content-Length": true, "Content-Type": true, "If-Match": true, "If-None-Match": true,
	"Range": true, "User-Agent": true, "X-Amz-Checksum-Mode": true, "X-Amz-Content-Sha256": true, "X-Amz-Date": true,
}

const unsignedPayload = "UNSIGNED-PAYLOAD"

// objectOf returns which object r is about; ok is false unless it is a plain request
// for one.
func objectOf(r *http.Request) (bucket, key string, ok bool) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return "", "", false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		if r.ContentLength < 0 || r.Header.Get("X-Amz-Content-Sha256") != unsignedPayload {
			return "", "", false
		}
	default:
		return "", "", false
	}
	for name := range r.Header {
		if !known[name] {
			return "", "", false
		}
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	// A name that begins with a dot may be the library's own.
	return bucket, key, bucketName.MatchString(bucket) && fs.ValidPath(key) && key[0] != '.' && !strings.Contains(key, "/.")
}

// put stores the body of r. Like a connection it leaves with r's context, although
// the body may be read for a moment more.
func (d *direct) put(r *http.Request, bucket, key string) (*http.Response, error) {
	type outcome struct {
		resp *http.Response
		err  error
	}
	done := make(chan outcome, 1)
	go func() { // ends with the body, and is waited for by Stop
		defer d.inside.leave()
		resp, err := d.keep(r, bucket, key) //nolint:bodyclose // its caller has it
		done <- outcome{resp, err}
	}()
	select {
	case o := <-done:
		return o.resp, o.err
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

func (d *direct) keep(r *http.Request, bucket, key string) (*http.Response, error) {
	body := &sent{ctx: r.Context(), ReadCloser: http.NoBody}
	if r.Body != nil {
		body.ReadCloser = r.Body
	}
	defer func() { _ = body.Close() }()
	size, media := r.ContentLength, r.Header.Get("Content-Type")
	out, err := d.store.PutObject(r.Context(), s3response.PutObjectInput{
		Bucket: &bucket, Key: &key, ContentLength: &size, ContentType: &media, Body: body,
		IfMatch: condition(r, "If-Match"), IfNoneMatch: condition(r, "If-None-Match"),
	})
	switch {
	case body.failed != nil: // of the caller's own making
		return nil, body.failed
	case err != nil:
		return refuse(r, err), nil
	}
	h := http.Header{}
	set(h, "ETag", &out.ETag)
	set(h, "X-Amz-Checksum-Crc64nvme", out.ChecksumCRC64NVME)
	h.Set("X-Amz-Checksum-Type", string(out.ChecksumType))
	return answer(r, http.StatusOK, h, http.NoBody, 0), nil
}

// sent is the body of a request, which ends with the request's context.
type sent struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // the request's
	failed error           // why it could not be read
}

// Read reads on.
func (s *sent) Read(p []byte) (n int, err error) {
	if err = context.Cause(s.ctx); err == nil {
		n, err = s.ReadCloser.Read(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // a Reader returns io.EOF itself
		s.failed = err
	}
	return n, err //nolint:wrapcheck // the caller's own error
}

func (d *direct) get(r *http.Request, bucket, key string) *http.Response {
	path, err := d.store.bucket(&bucket)
	if err != nil {
		return refuse(r, err)
	}
	within := r.Header.Get("Range")
	out, err := d.store.files.GetObject(r.Context(), &s3.GetObjectInput{
		Bucket: path, Key: &key, Range: &within, IfMatch: condition(r, "If-Match"), IfNoneMatch: condition(r, "If-None-Match"), ChecksumMode: checksumMode(r),
	})
	if err != nil {
		return refuse(r, err)
	}
	h := describe(out.ETag, out.ContentType, out.LastModified, out.ContentLength)
	set(h, "Content-Range", out.ContentRange)
	set(h, "X-Amz-Checksum-Crc64nvme", out.ChecksumCRC64NVME)
	h.Set("X-Amz-Checksum-Type", string(out.ChecksumType))
	status := http.StatusOK
	if out.ContentRange != nil && *out.ContentRange != "" {
		status = http.StatusPartialContent
	}
	return answer(r, status, h, out.Body, *out.ContentLength)
}

func (d *direct) head(r *http.Request, bucket, key string) *http.Response {
	within := r.Header.Get("Range")
	out, err := d.store.HeadObject(r.Context(), &s3.HeadObjectInput{
		Bucket: &bucket, Key: &key, Range: &within, IfMatch: condition(r, "If-Match"), IfNoneMatch: condition(r, "If-None-Match"), ChecksumMode: checksumMode(r),
	})
	if err != nil {
		return refuse(r, err)
	}
	h := describe(out.ETag, out.ContentType, out.LastModified, out.ContentLength)
	set(h, "X-Amz-Checksum-Crc64nvme", out.ChecksumCRC64NVME)
	h.Set("X-Amz-Checksum-Type", string(out.ChecksumType))
	return answer(r, http.StatusOK, h, http.NoBody, *out.ContentLength)
}

func checksumMode(r *http.Request) types.ChecksumMode {
	return types.ChecksumMode(strings.ToUpper(r.Header.Get("X-Amz-Checksum-Mode")))
}

// condition returns the ETag that a header names; nil if there is none.
func condition(r *http.Request, header string) *string {
	etag := strings.Trim(r.Header.Get(header), `"`)
	if etag == "" {
		return nil
	}
	return &etag
}

func describe(etag, media *string, modified *time.Time, size *int64) http.Header {
	h := http.Header{}
	set(h, "ETag", etag)
	set(h, "Content-Type", media)
	h.Set("Content-Length", strconv.FormatInt(*size, 10))
	h.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	return h
}

func set(h http.Header, name string, value *string) {
	if value != nil && *value != "" {
		h.Set(name, *value)
	}
}

// refuse answers with err as the server does.
func refuse(r *http.Request, err error) *http.Response {
	known, ok := errors.AsType[s3err.S3Error](err)
	if !ok {
		known = s3err.GetAPIError(s3err.ErrInternalError)
	}
	text := known.XMLBody("", "")
	if r.Method == http.MethodHead {
		text = nil
	}
	return answer(r, known.StatusCode(), http.Header{"Content-Type": {"application/xml"}}, io.NopCloser(bytes.NewReader(text)), int64(len(text)))
}

func answer(r *http.Request, status int, h http.Header, body io.ReadCloser, size int64) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: size, Request: r,
	}
}

// inside counts the requests that are answered without a connection.
type inside struct {
	mu     sync.Mutex // guards closed, and that nobody enters who is not waited for
	closed bool
	wg     sync.WaitGroup
}

func (i *inside) enter() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.wg.Add(1)
	return true
}

func (i *inside) leave() { i.wg.Done() }

// close lets nobody in any more and waits for those inside, within a limit.
func (i *inside) close(limit time.Duration) {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	left := make(chan struct{})
	go func() { i.wg.Wait(); close(left) }() // ends with the last of them
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
	}
}
