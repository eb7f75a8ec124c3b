package foreign

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what S3 compares; it protects against accidents only
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/voicemill/voicemill/job"
)

const (
	dialTimeout  = 5 * time.Second
	smallTimeout = 15 * time.Second // a request without a body to speak of
	// A part of 8 MiB at 28 kB a second, and what the store does with all of them.
	partTimeout    = 5 * time.Minute
	maxAnswerBytes = 4 << 20 // the longest is a list of a thousand parts
	idleConns      = 2
)

// Bucket is one bucket. It is for one goroutine at a time.
type Bucket struct {
	core      minio.Core
	transport *http.Transport
	place     Place
	buf       []byte // one part; made when it is needed
}

// Open returns the bucket at a place. It connects to nothing.
func Open(cfg Config, p Place, cred Credentials) (*Bucket, error) {
	if faults := cfg.Faults(p, cred); faults.Any() { // what was allowed when it was set need not be now
		f := faults.List[0]
		return nil, &job.Error{Op: "foreign.Open", Kind: job.Forbidden, Public: "The bucket cannot be used as it is set: " + f.Pointer[1:] + " " + f.Detail + "."}
	}
	host, secure, err := p.host()
	if err != nil {
		return nil, err
	}
	transport := cfg.rule().Transport(dialTimeout)
	transport.ResponseHeaderTimeout = 0 // requests are bounded one by one
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = false, idleConns, smallTimeout
	transport.MaxResponseHeaderBytes = 64 << 10
	lookup := minio.BucketLookupDNS
	if p.PathStyle {
		lookup = minio.BucketLookupPath
	}
	if p.Region == "" {
		p.Region = defaultRegion // else the client would ask the store
	}
	client, err := minio.New(host, &minio.Options{
		Creds:  credentials.NewStaticV4(cred.AccessKey.Reveal(), cred.SecretKey.Reveal(), ""),
		Secure: secure, Region: p.Region, Transport: brief{transport}, BucketLookup: lookup, MaxRetries: 1,
	})
	if err != nil {
		return nil, &job.Error{Op: "foreign.Open", Kind: job.Invalid, Public: "The bucket's endpoint cannot be used.", Err: err}
	}
	return &Bucket{core: minio.Core{Client: client}, transport: transport, place: p}, nil
}

// Close ends idle connections.
func (b *Bucket) Close() { b.transport.CloseIdleConnections() }

// brief cuts answers that are longer than any of a store's is.
type brief struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t brief) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswerBytes), res.Body}
	}
	return res, err //nolint:wrapcheck // a transport's own
}

// key returns where an object of that path is.
func (b *Bucket) key(path string) string {
	if b.place.Prefix == "" {
		return path
	}
	return b.place.Prefix + "/" + path
}

// Probe finds out whether the bucket does what a delivery needs: it puts a small
// object, asks for it and deletes it.
func (b *Bucket) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, smallTimeout)
	defer cancel()
	key := b.key("voicemill-test-" + rand.Text())
	data := []byte("voicemill tests whether it may deliver here.\n")
	sum := md5.Sum(data) //nolint:gosec // as above
	_, err := b.core.PutObject(ctx, b.place.Bucket, key, bytes.NewReader(data), int64(len(data)), base64.StdEncoding.EncodeToString(sum[:]), "", minio.PutObjectOptions{
		ContentType: "text/plain", DisableContentSha256: b.unsigned(),
	})
	if err != nil {
		return classify("put a small object", err)
	}
	kept, err := b.core.StatObject(ctx, b.place.Bucket, key, minio.StatObjectOptions{})
	if err == nil && kept.Size != int64(len(data)) {
		err = fmt.Errorf("it keeps %d bytes of %d: %w", kept.Size, len(data), errUnlike)
	}
	gone := b.core.RemoveObject(ctx, b.place.Bucket, key, minio.RemoveObjectOptions{})
	if err != nil {
		return classify("ask for the small object that was put", err)
	}
	return classify("delete the small object that was put", gone)
}

var errUnlike = errors.New("the store keeps other bytes than were sent")

// unsigned reports whether bodies may travel without a signature over them, which
// TLS makes needless.
func (b *Bucket) unsigned() bool { return b.core.EndpointURL().Scheme == "https" }
