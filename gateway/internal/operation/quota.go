package operation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

const shedQuota = "tenant-quota"

// reserve takes a place for a job of a tenant that has a quota.
func (o *Operations) reserve(ctx context.Context, c *Caller, id job.ID, spec *job.Spec) error {
	got, err := o.reserveAll(ctx, c, []store.Place{{Job: id, Characters: spec.Characters()}})
	if err == nil && got.Admitted == 0 {
		err = overQuota(got, time.Now())
	}
	return err
}

// reserveAll takes places for jobs, in order, and says how many it got.
func (o *Operations) reserveAll(ctx context.Context, c *Caller, places []store.Place) (store.Places, error) {
	if len(places) == 0 || !o.dep.Quotas.Has(c.Tenant) {
		return store.Places{Admitted: len(places)}, nil
	}
	return o.dep.Store.Reserve(ctx, c.Tenant, places)
}

// unreserve gives back the place of a job if err says that it was not stored.
func (o *Operations) unreserve(ctx context.Context, c *Caller, err error, id job.ID) {
	if notStored(err) {
		o.unreserveAll(ctx, c, []job.ID{id})
	}
}

// notStored reports whether err says that a job was not stored for sure.
func notStored(err error) bool { return err != nil && !errors.Is(err, intake.ErrUnknown) }

func (o *Operations) unreserveAll(ctx context.Context, c *Caller, ids []job.ID) {
	if len(ids) == 0 || !o.dep.Quotas.Has(c.Tenant) {
		return
	}
	if err := o.dep.Store.Unreserve(context.WithoutCancel(ctx), ids); err != nil { // they end by themselves
		o.dep.Log.InfoContext(ctx, "places of a quota were not given back", slog.Int("jobs", len(ids)), slog.Any("error", err))
	}
}

// overQuota says of which quota there is no more, and when there may be.
func overQuota(p store.Places, now time.Time) error {
	refuse := func(wait time.Duration, format string, args ...any) error {
		e := problem.Newf(problem.QuotaExceeded, format, args...)
		e.Wait, e.Shed = wait, shedQuota
		e.Err = &job.Error{Op: "operation.overQuota", Kind: job.Overloaded, Public: e.Detail}
		return e
	}
	switch p.Quota {
	case store.QuotaCharactersDay:
		now = now.UTC()
		midnight := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
		return refuse(midnight.Sub(now), "Jobs of today have %.0f of the %.0f characters that the tenant may hand in on a day, and this one has more than is left; the next day begins at %s.",
			p.Used, p.Bound, midnight.Format(time.RFC3339))
	case store.QuotaOutstandingSeconds:
		return refuse(time.Minute, "%.0f s of audio are still to be made for the tenant, which may have %.0f s; more is taken when less is left.", p.Used, p.Bound)
	case store.QuotaStoredBytes:
		return refuse(time.Hour, "The tenant has stored %.0f bytes, places for documents included, and must stay under %.0f; more is taken when jobs were deleted or the time of something is up.", p.Used, p.Bound)
	default:
		return refuse(time.Minute, "The tenant has %.0f open jobs and may have %.0f; one more is taken when one of them has ended.", p.Used, p.Bound)
	}
}
