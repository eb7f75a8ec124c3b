package web

import (
	"context"
	"net/http"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/platform/blob/foreign"
)

type bucketDocument struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	foreign.Place
	TestedAt  jobdoc.Time `json:"tested_at"`
	CreatedAt jobdoc.Time `json:"created_at"`
}

func documentOfBucket(b store.Bucket) bucketDocument {
	return bucketDocument{ID: b.ID, Name: b.Name, Place: b.Place, TestedAt: jobdoc.Time{Time: b.TestedAt}, CreatedAt: jobdoc.Time{Time: b.CreatedAt}}
}

func listBuckets(ctx context.Context, c *Call) (*Answer, error) {
	return listed(ctx, c, c.s.ops.ListBuckets, documentOfBucket)
}

func getBucket(ctx context.Context, c *Call) (*Answer, error) {
	b, err := c.s.ops.FindBucket(ctx, &c.caller, c.params[0])
	if err != nil {
		return nil, err
	}
	d := documentOfBucket(b)
	return reply(http.StatusOK, &d), nil
}

func createBucket(ctx context.Context, c *Call) (*Answer, error) {
	var r operation.BucketRequest
	shape, err := decode(c, c.s.buckets, &r)
	if err != nil {
		return nil, err
	}
	once := c.once()
	b, err := c.s.ops.CreateBucket(ctx, &c.caller, &r, shape, &once)
	if err != nil {
		return nil, err
	}
	d := documentOfBucket(b)
	return reply(http.StatusCreated, &d), nil
}

func replaceBucket(ctx context.Context, c *Call) (*Answer, error) {
	var r operation.BucketRequest
	shape, err := decode(c, c.s.buckets, &r)
	if err != nil {
		return nil, err
	}
	b, err := c.s.ops.ReplaceBucket(ctx, &c.caller, c.params[0], &r, shape)
	if err != nil {
		return nil, err
	}
	d := documentOfBucket(b)
	return reply(http.StatusOK, &d), nil
}

func deleteBucket(ctx context.Context, c *Call) (*Answer, error) {
	if err := c.s.ops.DeleteBucket(ctx, &c.caller, c.params[0]); err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
