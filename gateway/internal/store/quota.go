package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Policy is how long what a tenant has is kept, and how many bytes of renditions.
// Each is a number of seconds, or of bytes, as text: empty leaves what there is,
// [ByDefault] is as the scheduler is configured.
type Policy struct {
	Text, Audio, Jobs, Deliveries, Renditions, RenditionBytes string
}

// ByDefault takes a tenant's own policy away.
const ByDefault = "default"

// Quota is what a tenant may have. Each is a number as text: empty leaves what
// there is, [Unbounded] takes the bound away.
type Quota struct {
	CharactersDay, OpenJobs, OutstandingSeconds, StoredBytes string
}

// Unbounded takes a bound away.
const Unbounded = "none"

// The quotas by name.
const (
	QuotaCharactersDay      = "characters_day"
	QuotaOpenJobs           = "open_jobs"
	QuotaOutstandingSeconds = "outstanding_seconds"
	QuotaStoredBytes        = "stored_bytes"
)

// Place is what a job takes of a quota before it has a row.
type Place struct {
	Job        job.ID
	Characters int64
}

// Places says how many of the places that were asked for there were and, if not
// all, which quota has no more.
type Places struct {
	Admitted int
	Quota    string
	Used     float64
	Bound    float64
}

// QuotaTenants implements the source of package quota.
func (s *Store) QuotaTenants(ctx context.Context) ([]job.Tenant, error) {
	return collect(ctx, s, "QuotaTenants", pgx.RowTo[job.Tenant])
}

// Reserve takes places for jobs, in order, until the quota of their tenant ends. A
// place is the job's until its row says what it takes, or for an hour; asking for
// it again is no second one.
func (s *Store) Reserve(ctx context.Context, tenant job.Tenant, places []Place) (p Places, err error) {
	ids, characters := make([]string, len(places)), make([]int64, len(places))
	for i, r := range places {
		ids[i], characters[i] = string(r.Job), r.Characters
	}
	err = s.row(ctx, "Reserve", []any{&p.Admitted, &p.Quota, &p.Used, &p.Bound}, tenant, ids, characters)
	return p, err
}

// Unreserve gives back places of jobs that were not accepted.
func (s *Store) Unreserve(ctx context.Context, ids []job.ID) error {
	return s.call(ctx, "Unreserve", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, s.queries.Get("Unreserve"), ids)
		return err
	})
}

// SetTenant changes policy and quota of a tenant; NotFound if there is no such tenant.
func (s *Store) SetTenant(ctx context.Context, tenant job.Tenant, p Policy, q Quota) error {
	return s.call(ctx, "SetTenant", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, s.queries.Get("SetPolicy"), tenant, seconds(p.Text), seconds(p.Audio), seconds(p.Jobs),
				seconds(p.Deliveries), seconds(p.Renditions), p.RenditionBytes)
			if err == nil && tag.RowsAffected() == 0 {
				err = &job.Error{Op: "store.SetTenant", Kind: job.NotFound, Public: "There is no such tenant."}
			}
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, s.queries.Get("SetQuota"), tenant, q.CharactersDay, q.OpenJobs, q.OutstandingSeconds, q.StoredBytes); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, s.queries.Get("DropEmptyQuota"), tenant)
			return err
		})
	})
}

func seconds(keep string) string {
	if keep == "" || keep == ByDefault {
		return keep
	}
	return keep + " seconds"
}
