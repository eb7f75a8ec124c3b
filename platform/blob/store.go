package blob

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Store is one bucket. It is safe for concurrent use.
type Store struct {
	cfg       Config
	core      minio.Core
	public    *minio.Client // signs for the endpoint that clients see
	transport *http.Transport
	traffic   *traffic
	parts     *parts
	slow      *parts             // for readers that take their time
	sse       encrypt.ServerSide // nil for none
	writes    writes
	syncs     bool // see [link]
}

// unsigned reports whether the bytes of an object may travel without a signature over them.
func (s *Store) unsigned() bool { return s.syncs || s.cfg.unsigned() }

// Info describes an object.
type Info struct {
	Key          string
	Size         int64  // bytes of the whole object
	ETag         string // of these bytes, without quotes; opaque
	ContentType  string
	LastModified time.Time
	Existed      bool // Put with IfAbsent found the object and stored nothing
}

var errConnectTimeout = errors.New("the object store did not answer in time")

// Provider is an embedded server; package s3d has one.
type Provider interface {
	InProcessConn(ctx context.Context) (net.Conn, error)
	// Direct returns what answers requests without a connection where it can, and
	// through wire where it cannot.
	Direct(wire http.RoundTripper) http.RoundTripper
}

// Option changes how [Open] connects.
type Option func(*link)

// link is the way to a server.
type link struct {
	transport *http.Transport
	requests  http.RoundTripper // what answers them: transport, or what stands before it
	// syncs says that the server is in this process, and looks at the file of an object that came in one
	// request before it answers with its checksum: see [put.confirm].
	syncs bool
}

// InProcess connects to a server in this process, whatever Config.Endpoint says;
// requests are still signed for that, and clients are sent there.
func InProcess(p Provider) Option {
	return func(l *link) {
		l.syncs = true
		l.transport.Proxy = nil
		l.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return p.InProcessConn(ctx) }
		l.requests = p.Direct(l.transport)
	}
}

// Open returns the bucket of cfg, which it makes if it is missing. While the
// server is away it tries again, for cfg.ConnectWait or until ctx is done.
func Open(ctx context.Context, cfg Config, options ...Option) (*Store, error) {
	s, err := dial(cfg, options)
	if err != nil {
		return nil, err
	}
	if err := s.awaitBucket(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// OpenExisting is [Open] for who only looks: it neither makes the bucket nor waits
// for the server. The error has kind NotFound if there is no such bucket.
func OpenExisting(ctx context.Context, cfg Config, options ...Option) (*Store, error) {
	s, err := dial(cfg, options)
	if err != nil {
		return nil, err
	}
	if err := s.Ready(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func dial(cfg Config, options []Option) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	transport := newTransport()
	if err := trust(transport, cfg.CA); err != nil {
		return nil, err
	}
	way := link{transport: transport, requests: transport}
	for _, o := range options {
		o(&way)
	}
	return newStore(cfg.withDefaults(), way)
}

func newStore(cfg Config, way link) (*Store, error) {
	host, secure, err := cfg.public()
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, transport: way.transport, traffic: &traffic{base: way.requests}, parts: newParts(partsAtOnce), slow: newParts(slowAtOnce), syncs: way.syncs,
	}
	if s.sse, err = cfg.sse(); err != nil {
		return nil, err
	}
	creds := credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey.Reveal(), "")
	if cfg.Role { // the environment says whose: a web identity, a container's role, or else the machine's
		creds = credentials.NewIAM("")
	}
	options := func(secure bool) *minio.Options {
		return &minio.Options{
			Creds:  creds,
			Secure: secure, Region: cfg.Region, Transport: s.traffic, MaxRetries: retries,
		}
	}
	client, err := minio.New(cfg.Endpoint, options(cfg.TLS))
	if err != nil {
		return nil, fmt.Errorf("blob: endpoint %q: %w", cfg.Endpoint, err)
	}
	s.core = minio.Core{Client: client}
	if s.public, err = minio.New(host, options(secure)); err != nil {
		return nil, fmt.Errorf("blob: public endpoint %q: %w", host, err)
	}
	return s, nil
}

func newTransport() *http.Transport {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: d.DialContext, TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns, IdleConnTimeout: 90 * time.Second,
		ExpectContinueTimeout: time.Second, DisableCompression: true,
		WriteBufferSize: 32 << 10, ReadBufferSize: 32 << 10,
	}
}

// trust adds the certificates in a file, if one is given, to the machine's.
func trust(t *http.Transport, file string) error {
	if file == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("blob: read the certificates: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(raw) {
		return fmt.Errorf("blob: %s has no certificate in PEM", file)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return nil
}

// sse returns the encryption that each object is stored with; nil for none.
func (c Config) sse() (encrypt.ServerSide, error) {
	switch c.Encryption {
	case encryptS3:
		return encrypt.NewSSE(), nil
	case encryptKMS:
		sse, err := encrypt.NewSSEKMS(c.EncryptionKey, nil)
		if err != nil {
			return nil, fmt.Errorf("blob: encryption key: %w", err)
		}
		return sse, nil
	default:
		return nil, nil
	}
}

func (s *Store) awaitBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.ConnectWait, errConnectTimeout)
	defer cancel()
	var last error // that is not the end of the wait itself
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := s.makeBucket(ctx)
		if err == nil || !job.Retryable(err) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		if !lifecycle.Sleep(ctx, pause) {
			return classify("Open", s.cfg.Bucket, errors.Join(context.Cause(ctx), cmp.Or(last, err)))
		}
	}
}

func (s *Store) makeBucket(ctx context.Context) error {
	ok, err := s.core.BucketExists(ctx, s.cfg.Bucket)
	if err != nil || ok {
		return classify("Open", s.cfg.Bucket, err)
	}
	err = s.core.MakeBucket(ctx, s.cfg.Bucket, minio.MakeBucketOptions{Region: s.cfg.Region})
	var r minio.ErrorResponse
	if errors.As(err, &r) && (r.Code == "BucketAlreadyOwnedByYou" || r.Code == "BucketAlreadyExists") {
		return nil // another process was quicker
	}
	return classify("Open", s.cfg.Bucket, err)
}

// Close ends idle connections. Calls in hand go on.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// Ready asks the server whether the bucket is there.
func (s *Store) Ready(ctx context.Context) error {
	ok, err := s.core.BucketExists(ctx, s.cfg.Bucket)
	if err == nil && !ok {
		err = minio.ErrorResponse{Code: "NoSuchBucket", StatusCode: http.StatusNotFound, Message: "the bucket is gone"}
	}
	return classify("Ready", s.cfg.Bucket, err)
}

// Stat describes an object; the error has kind NotFound if there is none.
func (s *Store) Stat(ctx context.Context, key string) (Info, error) {
	if err := ValidKey(key); err != nil {
		return Info{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, smallTimeout, errStalled)
	defer cancel()
	o, err := s.core.StatObject(ctx, s.cfg.Bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Info{}, classify("Stat", key, err)
	}
	return info(o), nil
}

// Delete removes an object. One that is not there counts as removed.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ValidKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, smallTimeout, errStalled)
	defer cancel()
	err := classify("Delete", key, s.core.RemoveObject(ctx, s.cfg.Bucket, key, minio.RemoveObjectOptions{}))
	if job.KindOf(err) == job.NotFound && err != nil {
		return nil
	}
	return err
}

// List yields the objects whose keys begin with prefix, in the order of their
// keys, without their content types. After an error it yields no more.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return s.ListAfter(ctx, prefix, "")
}

// ListAfter is List for the keys that come after one.
func (s *Store) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: after}) {
			if o.Err != nil {
				yield(Info{}, classify("List", prefix, o.Err))
				return
			}
			if !yield(info(o), nil) {
				return
			}
		}
	}
}

// SweepUploads ends the multipart uploads that began before the given time and
// were never completed, such as those of a process that was killed, and frees
// what they hold. It returns how many.
func (s *Store) SweepUploads(ctx context.Context, before time.Time) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range s.core.ListIncompleteUploads(ctx, s.cfg.Bucket, "", true) {
		if u.Err != nil {
			return n, classify("SweepUploads", s.cfg.Bucket, u.Err)
		}
		if !u.Initiated.Before(before) {
			continue
		}
		if err := s.core.AbortMultipartUpload(ctx, s.cfg.Bucket, u.Key, u.UploadID); err != nil {
			return n, classify("SweepUploads", u.Key, err)
		}
		n++
	}
	return n, nil
}

func info(o minio.ObjectInfo) Info {
	return Info{Key: o.Key, Size: o.Size, ETag: strings.Trim(o.ETag, `"`), ContentType: o.ContentType, LastModified: o.LastModified}
}
