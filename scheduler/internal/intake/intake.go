package intake

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Deps are the parts an Intake works with; all are needed.
type Deps struct {
	Store *store.Store
	Bus   *bus.Bus
	Log   *slog.Logger
	// Stored is told of every envelope: how many jobs it brought, and those
	// that were new.
	Stored func(jobs int, fresh []store.Inserted)
}

// Intake consumes JOBS. Several may run in a deployment.
type Intake struct{ deps Deps }

// New returns an Intake that is not running yet.
func New(deps Deps) *Intake { return &Intake{deps: deps} }

// Run consumes envelopes until ctx is done, finishes the one in hand and
// returns nil.
func (in *Intake) Run(ctx context.Context) error {
	return in.deps.Bus.Envelopes(ctx, in.store)
}

func (in *Intake) store(ctx context.Context, e bus.Envelope) error {
	fresh, err := in.deps.Store.InsertJobs(ctx, e.Jobs)
	switch {
	case err == nil:
	case !store.AtFault(err):
		return fmt.Errorf("store an envelope of %d jobs: %w", len(e.Jobs), err)
	default:
		in.deps.Log.ErrorContext(ctx, "envelope stored job by job", slog.Int("jobs", len(e.Jobs)), slog.String("error", err.Error()))
		if fresh, err = in.oneByOne(ctx, e.Jobs); err != nil {
			return err
		}
	}
	for _, j := range fresh {
		if j.State == job.StateAccepted {
			in.deps.Bus.HintQuietly(j.ID, j.Version.Version)
		} else {
			in.deps.Bus.Hint(j.ID, j.Version.Version)
		}
	}
	in.deps.Stored(len(e.Jobs), fresh)
	return nil
}

// oneByOne stores what can be stored. An error means that it was not for the
// jobs' own sake, and the whole envelope has to come again.
func (in *Intake) oneByOne(ctx context.Context, jobs []bus.AcceptedJob) ([]store.Inserted, error) {
	var all []store.Inserted
	for i := range jobs {
		fresh, err := in.one(ctx, &jobs[i])
		if err != nil {
			return nil, fmt.Errorf("store job %s: %w", jobs[i].ID, err)
		}
		all = append(all, fresh...)
	}
	return all, nil
}

const sayBroken = "The job was accepted but cannot be stored because of a fault on our side; submit it again."

func (in *Intake) one(ctx context.Context, a *bus.AcceptedJob) ([]store.Inserted, error) {
	fresh, err := in.deps.Store.InsertJobs(ctx, []bus.AcceptedJob{*a})
	if !store.AtFault(err) {
		return fresh, err
	}
	// A tenant without a row is the one fault that can be mended.
	if terr := in.deps.Store.EnsureTenant(ctx, a.Tenant); terr == nil {
		if fresh, err = in.deps.Store.InsertJobs(ctx, []bus.AcceptedJob{*a}); !store.AtFault(err) {
			return fresh, err
		}
	}
	log := in.deps.Log.With(slog.String("job_id", string(a.ID)), slog.String("tenant", string(a.Tenant)))
	log.ErrorContext(ctx, "job cannot be stored as it came", slog.String("error", err.Error()))
	if fresh, err = in.deps.Store.InsertBroken(ctx, a, sayBroken); !store.AtFault(err) {
		return fresh, err
	}
	log.ErrorContext(ctx, "not even the failure of a job can be stored; it is parked", slog.Time("accepted_at", a.AcceptedAt),
		slog.String("request_id", a.RequestID), slog.String("error", err.Error()))
	return nil, in.deps.Bus.Park(ctx, bus.Envelope{Jobs: []bus.AcceptedJob{*a}}, err.Error())
}
