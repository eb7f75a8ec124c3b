package operation

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/config"
)

// BucketRequest says where an owner's bucket is and what opens it. Credentials
// go in and never come out.
type BucketRequest struct {
	Name      string `json:"name"`
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	Bucket    string `json:"bucket"`
	Prefix    string `json:"prefix"`
	PathStyle bool   `json:"path_style"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// testTimeout is how long a bucket may take to be tested, over all its requests.
const testTimeout = 20 * time.Second

func (r *BucketRequest) place() foreign.Place {
	return foreign.Place{Endpoint: r.Endpoint, Region: r.Region, Bucket: r.Bucket, Prefix: r.Prefix, PathStyle: r.PathStyle}
}

func (r *BucketRequest) credentials() foreign.Credentials {
	return foreign.Credentials{AccessKey: config.NewSecret(r.AccessKey), SecretKey: config.NewSecret(r.SecretKey)}
}

func (r *BucketRequest) faults(cfg foreign.Config) job.Faults {
	faults := cfg.Faults(r.place(), r.credentials())
	nameFault(r.Name, &faults)
	return faults
}

const sayNoBucketKey = "Buckets cannot be kept here: the operator has configured no key to encrypt their credentials with (bucket-keys)."

// tested finds out that a bucket works before it is kept, and seals its credentials.
func (o *Operations) tested(ctx context.Context, id string, r *BucketRequest, shape job.Faults) (cred store.Sealed, err error) {
	keys, err := o.cfg.Buckets.Sealing()
	if err != nil || !keys.Any() {
		return cred, &problem.Error{Slug: problem.NoBucketKey, Detail: sayNoBucketKey, Err: err}
	}
	if faults := merge(shape, r.faults(o.cfg.Buckets)); faults.Any() {
		return cred, problem.Faulty(faults)
	}
	b, err := foreign.Open(o.cfg.Buckets, r.place(), r.credentials())
	if err == nil {
		defer b.Close()
		ctx, cancel := context.WithTimeout(ctx, testTimeout)
		defer cancel()
		err = b.Probe(ctx)
	}
	if err != nil {
		return cred, &problem.Error{Slug: problem.BucketRefused, Detail: job.PublicOf(err, ""), Err: err}
	}
	cred.By, cred.Text, err = r.credentials().Seal(keys, id)
	return cred, err
}

// CreateBucket keeps an owner's bucket, once it has been seen to work. If the same
// request came before, it returns what that one made.
func (o *Operations) CreateBucket(ctx context.Context, c *Caller, r *BucketRequest, shape job.Faults, once *Once) (b store.Bucket, err error) {
	id, err := o.dep.Store.NewBucketID()
	if err != nil {
		return b, err
	}
	if !once.Given {
		return o.createBucket(ctx, c, id, r, shape)
	}
	// A request with faults does not use the key up. One whose bucket was refused does, for
	// itself: repeated as it is, it is tested again.
	if faults := merge(shape, r.faults(o.cfg.Buckets)); faults.Any() {
		return b, problem.Faulty(faults)
	}
	owner, err := o.claim(ctx, c, once, id)
	if err != nil {
		return b, err
	}
	if owner != id {
		if b, err = o.dep.Store.FindBucket(ctx, c.Tenant, owner); err == nil || job.KindOf(err) != job.NotFound {
			return b, err
		}
	}
	return o.createBucket(ctx, c, owner, r, shape)
}

func (o *Operations) createBucket(ctx context.Context, c *Caller, id string, r *BucketRequest, shape job.Faults) (store.Bucket, error) {
	cred, err := o.tested(ctx, id, r, shape)
	if err != nil {
		return store.Bucket{}, err
	}
	b, err := o.dep.Store.CreateBucket(ctx, c.Tenant, store.Bucket{ID: id, Name: r.Name, Place: r.place()}, cred, o.cfg.MaxBuckets)
	switch {
	case err != nil && job.KindOf(err) == job.Conflict: // the same request has made it meanwhile
		return o.dep.Store.FindBucket(ctx, c.Tenant, id)
	case err != nil && job.KindOf(err) == job.TooLarge:
		return b, problem.New(problem.Conflict, job.PublicOf(err, ""))
	}
	return b, err
}

// ReplaceBucket puts another place, or other credentials, under the id of a bucket
// once they have been seen to work. Until then the old ones stay.
func (o *Operations) ReplaceBucket(ctx context.Context, c *Caller, id string, r *BucketRequest, shape job.Faults) (store.Bucket, error) {
	if _, err := o.FindBucket(ctx, c, id); err != nil {
		return store.Bucket{}, err
	}
	cred, err := o.tested(ctx, id, r, shape)
	if err != nil {
		return store.Bucket{}, err
	}
	b, err := o.dep.Store.ReplaceBucket(ctx, c.Tenant, store.Bucket{ID: id, Name: r.Name, Place: r.place()}, cred)
	return b, bucketGone(err)
}

// FindBucket returns a bucket of the caller's tenant.
func (o *Operations) FindBucket(ctx context.Context, c *Caller, id string) (store.Bucket, error) {
	b, err := o.dep.Store.FindBucket(ctx, c.Tenant, id)
	return b, bucketGone(err)
}

// ListBuckets returns at most limit buckets after the cursor, newest first; next
// leads on if there are more.
func (o *Operations) ListBuckets(ctx context.Context, c *Caller, after store.Cursor, limit int) (page []store.Bucket, next string, err error) {
	page, err = o.dep.Store.ListBuckets(ctx, c.Tenant, after, limit+1)
	page, next = paged(page, limit, func(b *store.Bucket) store.Cursor { return store.Cursor{At: b.CreatedAt, ID: b.ID} })
	return page, next, err
}

// DeleteBucket forgets a bucket; what is in it stays.
func (o *Operations) DeleteBucket(ctx context.Context, c *Caller, id string) error {
	return bucketGone(o.dep.Store.DeleteBucket(ctx, c.Tenant, id))
}

func bucketGone(err error) error {
	if err != nil && job.KindOf(err) == job.NotFound {
		return problem.New(problem.NotFound, "There is no such bucket.")
	}
	return err
}
