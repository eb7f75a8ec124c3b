package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Claim is a job that this process plans.
type Claim struct {
	Owner
	Version               int64 // of the job, as of the claim
	Spec                  job.Spec
	SourceKey, SourceETag string // of the upload; empty for inline input
	CoverKey              string // of the upload that is to be the cover; empty if none is named, or it is gone
	Attempt               int
}

// Voice is a row of voices: what a worker offers.
type Voice struct {
	Name, Pool, Language, Engine string
	SampleRate                   int
	Default                      bool // for its language
	Instructions                 bool // it takes them
	Gone                         bool // nobody has had it for a week
}

// Interrupted is a job in planning, perhaps one whose planner died.
type Interrupted struct {
	ID       job.ID
	Attempts int
}

// Input says how a job is read.
type Input bool

// The inputs that jobs have.
const (
	Inline    Input = false // plain text or a list of texts that came with the request
	Documents Input = true  // an upload, or text that is marked up: another process reads it
)

// Ask says which jobs a planner wants.
type Ask struct {
	Input   Input
	Class   job.Class
	After   job.Tenant   // tenants in the order of their names, from the one after it on and round; empty for the first
	Without []job.Tenant // have enough
	Limit   int          // jobs; of one tenant after the other
}

// Waiting reports whether there are jobs with one kind of input to be planned. It is
// much cheaper than to claim none.
func (s *Store) Waiting(ctx context.Context, input Input) (interactive, bulk bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("Waiting"), bool(input)).Scan(&interactive, &bulk)
	return interactive, bulk, pg.Classify(err)
}

// Claim moves accepted jobs to planning, in no particular order. What it costs
// grows with a.Limit alone.
func (s *Leased) Claim(ctx context.Context, a Ask) ([]Claim, error) {
	return s.claim(ctx, "Claim", bool(a.Input), a.Class, a.After, a.Limit, a.Limit+len(a.Without), names(a.Without))
}

// names returns tenants as statements take them; never nil.
func names(tenants []job.Tenant) []string {
	list := make([]string, len(tenants))
	for i, t := range tenants {
		list[i] = string(t)
	}
	return list
}

// ClaimAgain counts one more attempt at planning a job and returns it; none if
// the job is not in planning any more.
func (s *Leased) ClaimAgain(ctx context.Context, id job.ID) ([]Claim, error) {
	return s.claim(ctx, "ClaimAgain", id)
}

func (s *Leased) claim(ctx context.Context, query string, args ...any) ([]Claim, error) {
	return change(ctx, s, query, args, func(r pgx.CollectableRow) (c Claim, err error) {
		err = r.Scan(&c.ID, &c.Num, &c.Tenant, &c.Class, &c.Spec, &c.SourceKey, &c.SourceETag, &c.Attempt, &c.CoverKey,
			&c.Version, &c.Priority, &c.Deadline, &c.AcceptedAt, &c.Weight)
		return c, err
	})
}

// RefundPlanAttempt takes back an attempt that failed by no fault of the job.
func (s *Leased) RefundPlanAttempt(ctx context.Context, ids ...job.ID) error {
	_, err := s.exec(ctx, "RefundPlanAttempt", texts(ids))
	return err
}

// InterruptedPlans returns the jobs with one kind of input that are in planning,
// whoever plans them.
func (s *Store) InterruptedPlans(ctx context.Context, input Input) ([]Interrupted, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("InterruptedPlans"), bool(input))
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Interrupted])
	return list, pg.Classify(err)
}

// FailPlan ends a job that cannot be planned, with its callback. Its
// owner is shown detail. A job that is not in planning any more is left alone.
func (s *Leased) FailPlan(ctx context.Context, id job.ID, kind job.Kind, detail string) ([]Version, error) {
	var done []Version
	err := s.tx(ctx, func(tx pgx.Tx) error {
		done = nil
		var tenant job.Tenant
		var callback *job.Callback
		rows, err := tx.Query(ctx, s.q.Get("LockPlanning"), id)
		if err != nil {
			return err
		}
		if _, err = pgx.ForEachRow(rows, []any{&id, &tenant, &callback}, func() error { return nil }); err != nil {
			return err
		}
		if done, err = collectVersions(tx.Query(ctx, s.q.Get("FailPlan"), id, kind.String(), detail)); err != nil || len(done) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, s.q.Get("DropBlocksOf"), id); err != nil {
			return err
		}
		n, wanted := notice(id, tenant, callback, job.EventFailed)
		if !wanted {
			return nil
		}
		return s.sendNotices(ctx, tx, []Notice{n})
	})
	return done, err
}

// Voices returns every voice, by name.
func (s *Store) Voices(ctx context.Context) ([]Voice, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Voices"))
	if err != nil {
		return nil, pg.Classify(fmt.Errorf("read the voices: %w", err))
	}
	voices, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (v Voice, err error) {
		err = r.Scan(&v.Name, &v.Pool, &v.Language, &v.Engine, &v.SampleRate, &v.Default, &v.Instructions, &v.Gone)
		return v, err
	})
	return voices, pg.Classify(err)
}
