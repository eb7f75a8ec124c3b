package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/job"
)

// Upload is a place that a client may PUT one document to.
type Upload struct {
	ID        string
	MediaType string
	MaxBytes  int64
	ObjectKey string
	ExpiresAt time.Time
}

// NewUploadID returns a fresh id.
func (s *Store) NewUploadID() (string, error) { return s.newID("upl_") }

// NewKeyID returns a fresh id of an API key.
func (s *Store) NewKeyID() (string, error) { return s.newID("key_") }

func (s *Store) newID(prefix string) (string, error) {
	id, err := job.NewToken(prefix, s.random)
	if err != nil {
		return "", &job.Error{Op: "store.newID", Kind: job.Internal, Err: err}
	}
	return id, nil
}

// CreateUpload stores u, or returns what is stored under its id already: two
// requests with one idempotency key make the same. Its bytes count in the tenant's
// quota until it goes; if they do not fit, nothing is stored, and the Places say why.
func (s *Store) CreateUpload(ctx context.Context, tenant job.Tenant, u Upload) (Upload, Places, error) {
	p := Places{Admitted: 1}
	err := s.call(ctx, "CreateUpload", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, s.queries.Get("AddUpload"), u.ID, tenant, u.MediaType, u.MaxBytes, u.ObjectKey, u.ExpiresAt).Scan(&p.Used, &p.Bound)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err == nil:
			p.Admitted, p.Quota = 0, QuotaStoredBytes
		}
		return err
	})
	if err != nil || p.Admitted == 0 {
		return u, p, err
	}
	u, err = s.FindUpload(ctx, tenant, u.ID)
	return u, p, err
}

// FindUpload returns an upload of tenant, or NotFound.
func (s *Store) FindUpload(ctx context.Context, tenant job.Tenant, id string) (Upload, error) {
	u := Upload{ID: id}
	err := s.row(ctx, "FindUpload", []any{&u.MediaType, &u.MaxBytes, &u.ObjectKey, &u.ExpiresAt}, id, tenant)
	return u, err
}

// claimTries bounds the claim of a key that is swept away between two statements.
const claimTries = 3

// ClaimIdempotencyKey decides who owns key (invariant I8): the id of whoever
// came first is returned, ours if it was us. Conflict if the first request had
// another body.
func (s *Store) ClaimIdempotencyKey(ctx context.Context, tenant job.Tenant, key string, body [sha256.Size]byte, id string) (owner string, err error) {
	err = s.call(ctx, "ClaimIdempotencyKey", func(ctx context.Context) error {
		for range claimTries {
			err := s.pool.QueryRow(ctx, s.queries.Get("ClaimIdempotencyKey"), tenant, key, body[:], id).Scan(&owner)
			if err != pgx.ErrNoRows { //nolint:errorlint // Scan returns it unwrapped, and nil is the common case
				return err
			}
			var hash []byte
			err = s.pool.QueryRow(ctx, s.queries.Get("FindIdempotencyKey"), tenant, key).Scan(&hash, &owner)
			switch {
			case err == pgx.ErrNoRows: //nolint:errorlint // as above
				continue
			case err != nil:
				return err
			case !bytes.Equal(hash, body[:]):
				return &job.Error{Op: "store.ClaimIdempotencyKey", Kind: job.Conflict, Public: "This Idempotency-Key was used before with another request."}
			}
			return nil
		}
		return &job.Error{Op: "store.ClaimIdempotencyKey", Kind: job.Unavailable}
	})
	return owner, err
}

// OwnsIdempotencyKey reports whether a request with this body has claimed key
// within the last day. It claims nothing.
func (s *Store) OwnsIdempotencyKey(ctx context.Context, tenant job.Tenant, key string, body [sha256.Size]byte) (yes bool, err error) {
	err = s.row(ctx, "OwnsIdempotencyKey", []any{&yes}, tenant, key, body[:])
	return yes, err
}

// Claim is one idempotency key of many.
type Claim struct {
	Key   string
	Body  [sha256.Size]byte
	ID    string // ours
	Owner string // whose the key is, as by ClaimIdempotencyKey; empty if its first request had another body
}

// ClaimIdempotencyKeys is ClaimIdempotencyKey for many different keys at once. It
// fills in the owners.
func (s *Store) ClaimIdempotencyKeys(ctx context.Context, tenant job.Tenant, claims []Claim) error {
	open := make(map[string]*Claim, len(claims))
	for i := range claims {
		open[claims[i].Key] = &claims[i]
	}
	return s.call(ctx, "ClaimIdempotencyKeys", func(ctx context.Context) error {
		for range claimTries {
			if err := s.claimOpen(ctx, tenant, open); err != nil || len(open) == 0 {
				return err
			}
		}
		return &job.Error{Op: "store.ClaimIdempotencyKeys", Kind: job.Unavailable}
	})
}

// claimOpen claims what is in open and takes out what it learns the owner of.
func (s *Store) claimOpen(ctx context.Context, tenant job.Tenant, open map[string]*Claim) error {
	keys, ids, bodies := make([]string, 0, len(open)), make([]string, 0, len(open)), make([][]byte, 0, len(open))
	for key, c := range open {
		keys, ids, bodies = append(keys, key), append(ids, c.ID), append(bodies, c.Body[:])
	}
	rows, err := s.pool.Query(ctx, s.queries.Get("ClaimIdempotencyKeys"), tenant, keys, bodies, ids)
	if err != nil {
		return err
	}
	var key, owner string
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &hash, &owner}, func() error {
		c := open[key]
		if owner == "" || c == nil {
			return nil
		}
		if bytes.Equal(hash, c.Body[:]) {
			c.Owner = owner
		}
		delete(open, key)
		return nil
	})
	return err
}

// ListFormats returns the audio formats that some worker encodes.
func (s *Store) ListFormats(ctx context.Context) ([]string, error) {
	return collect(ctx, s, "ListFormats", pgx.RowTo[string])
}

// HasEar reports whether some worker hears what was spoken.
func (s *Store) HasEar(ctx context.Context) (has bool, err error) {
	err = s.row(ctx, "HasEar", []any{&has})
	return has, err
}

// ListVoices returns every voice that is offered, by name.
func (s *Store) ListVoices(ctx context.Context) ([]voices.Voice, error) {
	return collect(ctx, s, "ListVoices", func(row pgx.CollectableRow) (v voices.Voice, err error) {
		var gone *time.Time
		err = row.Scan(&v.Name, &v.Pool, &v.Language, &v.Engine, &v.SampleRate, &v.Default, &v.Licence, &v.Attribution, &v.Instructions, &gone)
		if gone != nil {
			v.GoneSince = *gone
		}
		return v, err
	})
}
