package foreign

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what S3 compares; it protects against accidents only
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
)

const (
	// PartBytes is how much of an object is in memory at a time. What is not larger
	// goes in one request.
	PartBytes = 8 << 20
	maxParts  = 10_000 // as S3: 78 GiB an object
	listParts = 1000
	// sumName is the metadata that holds the SHA-256 of an object.
	sumName = "Sha256"
)

// Object is a file on its way.
type Object struct {
	Path   string // below the bucket's prefix
	Media  string
	Size   int64
	SHA256 [sha256.Size]byte

	// Open returns the bytes from the first on.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Upload is the id of an upload in parts that was begun before; empty for none.
	Upload string
	// Began keeps the id of one that begins, before its first part is sent. If it fails, so
	// does the Put.
	Began func(ctx context.Context, id string) error
}

// Put stores an object, unless it is there already with these bytes. It may be
// repeated after any interruption. The error has kind Internal if the bytes
// are not those that the object says.
func (b *Bucket) Put(ctx context.Context, o Object) error {
	if o.Size > PartBytes*maxParts {
		return &job.Error{Op: "foreign.Put", Kind: job.TooLarge, Public: fmt.Sprintf("%s is larger than %d GiB.", o.Path, PartBytes*maxParts>>30)}
	}
	p := &put{b: b, o: o, key: b.key(o.Path), sum: sha256.New()}
	there, err := p.there(ctx, false)
	if err != nil || there {
		return p.failed("ask for", err)
	}
	if b.buf == nil {
		b.buf = make([]byte, PartBytes)
	}
	r, err := o.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // all of it was read and compared, or the error is told
	p.r = r
	if o.Size <= PartBytes {
		err = p.whole(ctx)
	} else {
		err = p.inParts(ctx)
	}
	if err != nil {
		return p.failed("store", err)
	}
	there, err = p.there(ctx, true)
	if err == nil && !there {
		err = errUnlike
	}
	return p.failed("confirm", err)
}

// put is one call of Put.
type put struct {
	b   *Bucket
	o   Object
	key string
	r   io.Reader
	sum hash.Hash // of what was read
}

func (p *put) failed(what string, err error) error { return classify(what+" "+p.o.Path, err) }

// there asks whether the store keeps the object. Who may not list a bucket is
// refused for an object that is not there, so a refusal says that only before it is stored.
func (p *put) there(ctx context.Context, stored bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, smallTimeout)
	defer cancel()
	kept, err := p.b.core.StatObject(ctx, p.b.place.Bucket, p.key, minio.StatObjectOptions{})
	if err == nil {
		return kept.Size == p.o.Size && kept.UserMetadata[sumName] == hex.EncodeToString(p.o.SHA256[:]), nil
	}
	var r minio.ErrorResponse
	if errors.As(err, &r) && (r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusForbidden && !stored) && r.Code != "NoSuchBucket" {
		return false, nil
	}
	return false, err //nolint:wrapcheck // classified by the caller
}

func (p *put) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ContentType: p.o.Media, DisableContentSha256: p.b.unsigned(),
		UserMetadata: map[string]string{sumName: hex.EncodeToString(p.o.SHA256[:])},
	}
}

// part reads the next n bytes.
func (p *put) part(n int64) ([]byte, error) {
	data := p.b.buf[:n]
	if _, err := io.ReadFull(p.r, data); err != nil {
		if _, ok := errors.AsType[*job.Error](err); !ok && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			return nil, p.damaged("has fewer bytes than it should")
		}
		return nil, err //nolint:wrapcheck // the source's own kind counts
	}
	p.sum.Write(data)
	return data, nil
}

// proved makes sure that what was read is what the object says, before the object
// appears.
func (p *put) proved() error {
	if !bytes.Equal(p.sum.Sum(nil), p.o.SHA256[:]) {
		return p.damaged("has another digest than it should")
	}
	return nil
}

func (p *put) damaged(how string) error {
	return &job.Error{Op: "foreign.Put", Kind: job.Internal, Public: "A file is damaged in our own bucket; nothing of it was delivered.", Err: fmt.Errorf("%s %s", p.o.Path, how)}
}

func (p *put) whole(ctx context.Context) error {
	data, err := p.part(p.o.Size)
	if err == nil {
		err = p.proved()
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	_, err = p.b.core.PutObject(ctx, p.b.place.Bucket, p.key, bytes.NewReader(data), p.o.Size, digest(data), "", p.options())
	return err //nolint:wrapcheck // classified by the caller
}

func digest(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// inParts reads all of the source, which proves it, and sends the parts that the
// store does not have.
func (p *put) inParts(ctx context.Context) error {
	id, have, err := p.begun(ctx)
	if err != nil {
		return err
	}
	var done []minio.CompletePart
	for left := p.o.Size; left > 0; {
		data, err := p.part(min(left, PartBytes))
		if err != nil {
			return err
		}
		left -= int64(len(data))
		n := len(done) + 1
		etag, err := p.send(ctx, id, n, data, have[n])
		if err != nil {
			return err
		}
		done = append(done, minio.CompletePart{PartNumber: n, ETag: etag})
	}
	if err := p.proved(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	_, err = p.b.core.CompleteMultipartUpload(ctx, p.b.place.Bucket, p.key, id, done, minio.PutObjectOptions{})
	return err //nolint:wrapcheck // classified by the caller
}

// send stores a part, unless the store has it: have is what it said of one.
func (p *put) send(ctx context.Context, id string, n int, data []byte, have minio.ObjectPart) (etag string, err error) {
	sum := md5.Sum(data) //nolint:gosec // as above
	if have.Size == int64(len(data)) && strings.Trim(have.ETag, `"`) == hex.EncodeToString(sum[:]) {
		return have.ETag, nil
	}
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	part, err := p.b.core.PutObjectPart(ctx, p.b.place.Bucket, p.key, id, n, bytes.NewReader(data), int64(len(data)), minio.PutObjectPartOptions{
		Md5Base64: base64.StdEncoding.EncodeToString(sum[:]), DisableContentSha256: p.b.unsigned(),
	})
	return part.ETag, err //nolint:wrapcheck // classified by the caller
}

// begun returns the upload that was begun before with the parts that it has, or
// begins one.
func (p *put) begun(ctx context.Context) (id string, have map[int]minio.ObjectPart, err error) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	if p.o.Upload != "" {
		have, err = p.parts(ctx, p.o.Upload)
		var r minio.ErrorResponse
		switch {
		case err == nil:
			return p.o.Upload, have, nil
		case !errors.As(err, &r) || r.Code != "NoSuchUpload":
			return "", nil, err
		}
	}
	id, err = p.b.core.NewMultipartUpload(ctx, p.b.place.Bucket, p.key, p.options())
	if err != nil {
		return "", nil, err //nolint:wrapcheck // classified by the caller
	}
	if err := p.o.Began(ctx, id); err != nil {
		_ = p.b.core.AbortMultipartUpload(ctx, p.b.place.Bucket, p.key, id) // nobody would know of it
		return "", nil, err
	}
	return id, nil, nil
}

func (p *put) parts(ctx context.Context, id string) (map[int]minio.ObjectPart, error) {
	have := map[int]minio.ObjectPart{}
	for after := 0; ; {
		page, err := p.b.core.ListObjectParts(ctx, p.b.place.Bucket, p.key, id, after, listParts)
		if err != nil {
			return nil, err //nolint:wrapcheck // classified by the caller
		}
		for _, part := range page.ObjectParts {
			have[part.PartNumber] = part
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= after {
			return have, nil
		}
		after = page.NextPartNumberMarker
	}
}

// Abort ends an upload in parts that nobody will complete. One that is not there
// counts as ended.
func (b *Bucket) Abort(ctx context.Context, path, id string) error {
	ctx, cancel := context.WithTimeout(ctx, smallTimeout)
	defer cancel()
	err := b.core.AbortMultipartUpload(ctx, b.place.Bucket, b.key(path), id)
	var r minio.ErrorResponse
	if errors.As(err, &r) && r.StatusCode == http.StatusNotFound {
		return nil
	}
	return classify("end an upload of "+path, err)
}
