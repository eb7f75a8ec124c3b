package client

import (
	"context"
	"net/http"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/api/jobdoc"
)

// BucketRequest says where a bucket of the tenant's own is and what opens it.
type BucketRequest struct {
	Name      string
	Endpoint  string // https://host[:port]
	Region    string // default us-east-1
	Bucket    string
	Prefix    string // that every path begins with, without slashes around it
	PathStyle bool   // the bucket is named in the path of a URL and not in its host
	AccessKey string
	SecretKey string
}

func (r BucketRequest) body() openapi.BucketRequest {
	return openapi.BucketRequest{
		Name: given(r.Name), Endpoint: r.Endpoint, Region: given(r.Region), Bucket: r.Bucket, Prefix: given(r.Prefix), PathStyle: given(r.PathStyle),
		AccessKey: r.AccessKey, SecretKey: r.SecretKey,
	}
}

// Bucket is one that is kept; its credentials are never shown.
type Bucket struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Endpoint  string      `json:"endpoint"`
	Region    string      `json:"region,omitempty"`
	Bucket    string      `json:"bucket"`
	Prefix    string      `json:"prefix,omitempty"`
	PathStyle bool        `json:"path_style,omitempty"`
	TestedAt  jobdoc.Time `json:"tested_at"`
	CreatedAt jobdoc.Time `json:"created_at"`
}

// Buckets lists the tenant's own buckets, newest first. limit is 1 to 100, or 0 for 20.
func (c *Client) Buckets(ctx context.Context, limit int, cursor string) (*Page[Bucket], error) {
	var p Page[Bucket]
	params := openapi.ListBucketsParams{Limit: given(limit), Cursor: given(cursor)}
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListBuckets(ctx, &params) }, &p)
	return &p, err
}

// Bucket returns one bucket.
func (c *Client) Bucket(ctx context.Context, id string) (*Bucket, error) {
	return bucket(func(b *Bucket) error {
		_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.GetBucket(ctx, id) }, b)
		return err
	})
}

// CreateBucket has a bucket tested and kept.
func (c *Client) CreateBucket(ctx context.Context, r BucketRequest) (*Bucket, error) {
	return bucket(func(b *Bucket) error {
		_, err := c.do(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.CreateBucket(ctx, nil, r.body()) }, b)
		return err
	})
}

// ReplaceBucket has another place, or other credentials, tested and kept under an id.
func (c *Client) ReplaceBucket(ctx context.Context, id string, r BucketRequest) (*Bucket, error) {
	return bucket(func(b *Bucket) error {
		_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ReplaceBucket(ctx, id, r.body()) }, b)
		return err
	})
}

func bucket(ask func(*Bucket) error) (*Bucket, error) {
	var b Bucket
	if err := ask(&b); err != nil {
		return nil, err
	}
	return &b, nil
}

// DeleteBucket forgets a bucket; what is in it stays.
func (c *Client) DeleteBucket(ctx context.Context, id string) error {
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.DeleteBucket(ctx, id) }, nil)
	return err
}
