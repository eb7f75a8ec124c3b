package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// reportEvery is how often the scheduler hears what this worker can take.
const reportEvery = time.Second

// report tells the scheduler what this worker can take until ctx is done. That
// it then hears nothing more tells it that the worker is gone.
func (s *service) report(ctx context.Context) error {
	name, err := job.NewToken("worker_", s.deps.Random)
	if err != nil {
		return fmt.Errorf("worker: name it: %w", err)
	}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		for _, capacity := range s.reports {
			c := capacity()
			c.Worker = name
			s.deps.Bus.TellCapacity(c)
		}
		select {
		case <-tick.C:
		case <-s.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// settledNotes tells the scheduler what of group counted.
func settledNotes(group []store.Outcome, done store.Settled) []bus.Settled {
	var notes []bus.Settled
	for i, o := range group {
		if done.Applied[i] {
			notes = append(notes, bus.Settled{
				Job: o.Job, N: o.Segment, Attempt: o.Attempt, Tenant: o.Tenant, Class: o.Class, Pool: o.Pool,
				Predicted: o.Seconds, Actual: done.Audio[i],
			})
		}
	}
	return notes
}
