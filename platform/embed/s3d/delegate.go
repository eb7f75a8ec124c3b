package s3d

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// The operations below go to the file backend with the bucket's path.

// NormalizeObjectKey returns the key as the file backend stores it.
func (s *store) NormalizeObjectKey(bucket, key string) string {
	return s.files.NormalizeObjectKey(bucket, key)
}

// ListBuckets lists the folders.
func (s *store) ListBuckets(_ context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return s3response.ListAllMyBucketsResult{}, err
	}
	var out s3response.ListAllMyBucketsResult
	out.Owner.ID = in.Owner
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && bucketName.MatchString(e.Name()) {
			out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: e.Name(), CreationDate: info.ModTime()})
		}
	}
	return out, nil
}

// HeadBucket reports whether the bucket is there.
func (s *store) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := s.missing(*path); err != nil {
		return nil, err
	}
	return s.files.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: path})
}

// CreateBucket makes the bucket's folder durably.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3err.GetAPIError(s3err.ErrInvalidBucketName)
	}
	abs := *in
	abs.Bucket = path
	if abs.CreateBucketConfiguration == nil {
		abs.CreateBucketConfiguration = &types.CreateBucketConfiguration{}
	}
	if err := s.files.CreateBucket(ctx, &abs, acl); err != nil {
		return err
	}
	return errors.Join(syncPath(*path), syncPath(s.root))
}

// DeleteBucket removes an empty bucket.
func (s *store) DeleteBucket(ctx context.Context, bucket string) error {
	path, err := s.bucket(&bucket)
	if err != nil {
		return err
	}
	return s.files.DeleteBucket(ctx, *path)
}

// GetBucketAcl says who owns the bucket; the server asks with every request.
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := s.missing(*path); err != nil {
		return nil, err
	}
	return s.files.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: path})
}

// GetBucketPolicy says that there is none: the owner may do everything, others nothing.
func (s *store) GetBucketPolicy(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// GetBucketCors says that there is none.
func (s *store) GetBucketCors(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchCORSConfiguration)
}

// GetBucketVersioning says that it is off.
func (s *store) GetBucketVersioning(context.Context, string) (s3response.GetBucketVersioningOutput, error) {
	return s3response.GetBucketVersioningOutput{}, nil
}

// GetObjectLockConfiguration says that there is none.
func (s *store) GetObjectLockConfiguration(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
}

// HeadObject describes an object.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	abs := *in
	abs.Bucket = path
	return s.files.HeadObject(ctx, &abs)
}

// GetObject reads an object or a range of it.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	abs := *in
	abs.Bucket = path
	out, err := s.files.GetObject(ctx, &abs)
	if err == nil && out.Body != nil {
		out.Body = streamed{out.Body, &s.buffers}
	}
	return out, err
}

// DeleteObject removes an object and the folders it leaves empty.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	if in.Key != nil {
		defer s.known.forget(*path, *in.Key)
	}
	abs := *in
	abs.Bucket = path
	return s.files.DeleteObject(ctx, &abs)
}

// DeleteObjects is DeleteObject for many.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.DeleteResult{}, err
	}
	if in.Delete != nil {
		for _, o := range in.Delete.Objects {
			if o.Key != nil {
				defer s.known.forget(*path, *o.Key)
			}
		}
	}
	abs := *in
	abs.Bucket = path
	return s.files.DeleteObjects(ctx, &abs)
}

// ListObjects lists keys.
func (s *store) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	abs := *in
	abs.Bucket = path
	out, err := s.files.ListObjects(ctx, &abs)
	out.Name = in.Bucket
	return out, err
}

// ListObjectsV2 lists keys.
func (s *store) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	abs := *in
	abs.Bucket = path
	out, err := s.files.ListObjectsV2(ctx, &abs)
	out.Name = in.Bucket
	return out, err
}

// CreateMultipartUpload begins an upload in parts.
func (s *store) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	name := *in.Bucket
	in.Bucket = path
	out, err := s.files.CreateMultipartUpload(ctx, in)
	out.Bucket = name
	return out, plain(err)
}

// UploadPart stores one part.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	abs := *in
	abs.Bucket, abs.Body = path, announced(in.Body, in.ContentLength)
	out, err := s.files.UploadPart(ctx, &abs)
	return out, plain(err)
}

// AbortMultipartUpload drops the parts.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return err
	}
	abs := *in
	abs.Bucket = path
	return s.files.AbortMultipartUpload(ctx, &abs)
}

// ListMultipartUploads lists the uploads that are not complete.
func (s *store) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	abs := *in
	abs.Bucket = path
	out, err := s.files.ListMultipartUploads(ctx, &abs)
	out.Bucket = *in.Bucket
	return out, err
}

// ListParts lists the parts of one upload.
func (s *store) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	path, err := s.bucket(in.Bucket)
	if err != nil {
		return s3response.ListPartsResult{}, err
	}
	abs := *in
	abs.Bucket = path
	out, err := s.files.ListParts(ctx, &abs)
	out.Bucket = *in.Bucket
	return out, err
}
