package s3d

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sync/singleflight"
)

// store is the backend of the server: the library's file backend with absolute
// paths in place of bucket names, and with syncs. The operations that it does
// not name are answered with NotImplemented.
type store struct {
	backend.BackendUnsupported
	files *posix.Posix
	root  string
	known dirs
	joins singleflight.Group // by upload

	buffers sync.Pool // of streamed
}

// bucketName is stricter than S3: it is also a safe name of a folder.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// bucket returns a pointer to the absolute path of the bucket's folder.
func (s *store) bucket(name *string) (*string, error) {
	if name == nil || !bucketName.MatchString(*name) {
		return nil, s3err.GetAPIError(s3err.ErrNoSuchBucket)
	}
	path := filepath.Join(s.root, *name)
	return &path, nil
}

// missing takes the path out of the error for a bucket that is not there.
func (s *store) missing(path string) error {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return s3err.GetAPIError(s3err.ErrNoSuchBucket)
	}
	return nil
}

// String names the backend in the library's messages.
func (s *store) String() string { return "voicemill" }

// Shutdown closes the file backend.
func (s *store) Shutdown() { s.files.Shutdown() }

// PutObject stores an object: its data before its name, then what leads to it.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.PutObjectOutput{}, err
	}
	in.Bucket, in.Body = path, bodyOf(in)
	out, err := s.files.PutObjectWithPostFunc(ctx, in, func(f *os.File) error { return syncWhole(f, in.ContentLength) })
	if err == nil {
		err = s.settle(*path, *in.Key)
	}
	return out, plain(err)
}

// syncWhole syncs f, and makes sure that all size bytes are in it; nil is unknown.
func syncWhole(f *os.File, size *int64) error {
	if err := f.Sync(); err != nil {
		return err
	}
	kept, err := f.Stat()
	if err == nil && size != nil && kept.Size() != *size {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return err
}

// CompleteMultipartUpload joins the parts into a file that is synced before it
// gets its name, and then like PutObject. Parts are not synced by themselves:
// an upload that a power cut interrupts begins anew. A request that is repeated
// while the first is in hand shares its answer; the library would say at once
// that all is done.
func (s *store) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	if in.Key == nil || in.UploadId == nil {
		return s3response.CompleteMultipartUploadResult{}, "", s3err.GetAPIError(s3err.ErrInvalidRequest)
	}
	abs := *in
	abs.Bucket = path
	shared, err, _ := s.joins.Do(*in.UploadId, func() (any, error) {
		out, version, err := s.files.CompleteMultipartUpload(ctx, &abs)
		if err == nil {
			err = s.settle(*path, *in.Key)
		}
		return joined{out, version}, err
	})
	done, _ := shared.(joined)
	done.out.Bucket = in.Bucket
	return done.out, done.version, plain(err)
}

// joined is what the library says of an object that was made of parts.
type joined struct {
	out     s3response.CompleteMultipartUploadResult
	version string
}

// settle makes the entries of the folders that lead to an object durable, and
// its attributes, which were set after its data was synced. On a file system
// with one journal the first sync writes all of it and the others find nothing to do.
func (s *store) settle(bucket, key string) error {
	file := filepath.Join(bucket, key)
	dir := filepath.Dir(file)
	if err := syncPath(dir); err != nil {
		return err
	}
	if err := syncPath(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be deleted again already
		return err
	}
	for up := dir; up != bucket && !s.known.has(up); up = filepath.Dir(up) {
		if err := syncPath(filepath.Dir(up)); err != nil {
			return err
		}
		s.known.add(up)
	}
	return nil
}

// dirs remembers folders whose own entry is durable. It forgets everything
// when it is full, or when a delete may have removed a folder.
type dirs struct {
	mu   sync.Mutex // guards seen
	seen map[string]struct{}
}

const maxKnownDirs = 20_000

func (d *dirs) has(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.seen[path]
	return ok
}

func (d *dirs) add(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil || len(d.seen) >= maxKnownDirs {
		d.seen = map[string]struct{}{}
	}
	d.seen[path] = struct{}{}
}

// forget drops the folders that lead to key, which a delete removes when they are empty.
func (d *dirs) forget(bucket, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for up := filepath.Dir(filepath.Join(bucket, key)); strings.HasPrefix(up, bucket+"/"); up = filepath.Dir(up) {
		delete(d.seen, up)
	}
}
