package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// reportEvery is how often the scheduler hears what this worker can take.
const reportEvery = time.Second

// sayEvery is how often Postgres hears how the pools are when nothing changes; one
// that is silent for 30 s counts as gone there.
const sayEvery = 5 * time.Second

// report tells the scheduler what this worker can take until ctx is done. That
// it then hears nothing more tells it that the worker is gone.
func (s *service) report(ctx context.Context) error {
	name, err := job.NewToken("worker_", s.deps.Random)
	if err != nil {
		return fmt.Errorf("worker: name it: %w", err)
	}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	var said time.Time
	var before []store.PoolState
	for {
		for _, capacity := range s.reports {
			c := capacity()
			c.Worker = name
			s.deps.Bus.TellCapacity(c)
		}
		if states := s.states(); time.Since(said) >= sayEvery || !sameReasons(states, before) {
			if err := s.say(ctx, name, states); err == nil { // else it is said with the next report
				said, before = time.Now(), states
			}
		}
		select {
		case <-tick.C:
		case <-s.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// say has everybody know how this worker's pools are, whoever leads or restarts.
func (s *service) say(ctx context.Context, name string, states []store.PoolState) error {
	ctx, cancel := context.WithTimeout(ctx, reportEvery)
	defer cancel()
	err := s.store.PutPools(ctx, name, states)
	if err != nil && ctx.Err() == nil {
		s.log.DebugContext(ctx, "nobody hears how the pools are", slog.String("error", err.Error()))
	}
	return err
}

// states returns how the pools are.
func (s *service) states() []store.PoolState {
	states := make([]store.PoolState, 0, len(s.fleets))
	for i, f := range s.fleets {
		p := store.PoolState{Pool: s.pools[i].Name}
		if st := f.State(); st.Waiting {
			p.Waits, p.Reason = time.Since(st.Since), string(st.Why)
		}
		states = append(states, p)
	}
	return states
}

func sameReasons(a, b []store.PoolState) bool {
	return slices.EqualFunc(a, b, func(a, b store.PoolState) bool { return a.Reason == b.Reason })
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
