package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/pg"
)

// Bucket is one of an owner's, as it is shown: without its credentials.
type Bucket struct {
	ID        string
	Name      string
	Place     foreign.Place
	TestedAt  time.Time
	CreatedAt time.Time
}

// Sealed are the credentials of a bucket and which key sealed them.
type Sealed struct {
	By   string
	Text []byte
}

// NewBucketID returns a fresh id.
func (s *Store) NewBucketID() (string, error) { return s.newID("bkt_") }

// CreateBucket stores b for tenant. The error is a Conflict if its id is there
// already, and TooLarge if the tenant has most of them.
func (s *Store) CreateBucket(ctx context.Context, tenant job.Tenant, b Bucket, cred Sealed, most int) (Bucket, error) {
	err := s.call(ctx, "CreateBucket", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, s.queries.Get("LockTenant"), tenant); err != nil {
				return err
			}
			err := tx.QueryRow(ctx, s.queries.Get("InsertBucket"), append(bucketArgs(tenant, b, cred), most)...).Scan(&b.TestedAt, &b.CreatedAt)
			if errors.Is(err, pgx.ErrNoRows) {
				return &job.Error{Op: "store.CreateBucket", Kind: job.TooLarge, Public: fmt.Sprintf("There are %d buckets already, which is as many as there may be; delete one first.", most), Err: err}
			}
			return err
		})
	})
	return b, err
}

// ReplaceBucket puts b in the place of what stands under its id; NotFound if
// nothing of tenant's does.
func (s *Store) ReplaceBucket(ctx context.Context, tenant job.Tenant, b Bucket, cred Sealed) (Bucket, error) {
	err := s.row(ctx, "ReplaceBucket", []any{&b.TestedAt, &b.CreatedAt}, bucketArgs(tenant, b, cred)...)
	return b, err
}

func bucketArgs(tenant job.Tenant, b Bucket, cred Sealed) []any {
	p := b.Place
	return []any{b.ID, tenant, b.Name, p.Endpoint, p.Region, p.Bucket, p.Prefix, p.PathStyle, cred.By, cred.Text}
}

// FindBucket returns a bucket of tenant, or NotFound.
func (s *Store) FindBucket(ctx context.Context, tenant job.Tenant, id string) (b Bucket, err error) {
	err = s.row(ctx, "FindBucket", b.targets(), id, tenant)
	return b, err
}

func (b *Bucket) targets() []any {
	p := &b.Place
	return []any{&b.ID, &b.Name, &p.Endpoint, &p.Region, &p.Bucket, &p.Prefix, &p.PathStyle, &b.TestedAt, &b.CreatedAt}
}

// ListBuckets returns at most limit buckets of tenant after the cursor, newest first.
func (s *Store) ListBuckets(ctx context.Context, tenant job.Tenant, after Cursor, limit int) ([]Bucket, error) {
	return collect(ctx, s, "ListBuckets", func(row pgx.CollectableRow) (b Bucket, err error) {
		err = row.Scan(b.targets()...)
		return b, err
	}, tenant, after.at(), after.ID, limit)
}

// DeleteBucket forgets a bucket of tenant and its credentials; NotFound if there is
// none. What was delivered stays where it is.
func (s *Store) DeleteBucket(ctx context.Context, tenant job.Tenant, id string) error {
	return s.row(ctx, "DeleteBucket", []any{&id}, id, tenant)
}
