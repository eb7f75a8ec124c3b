package release

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// look compares what is thought to be out with Postgres: it learns the pace of
// the pools from what is final, makes up for wrong predictions, and takes the
// messages of cancelled segments back.
func (p *pass) look(ctx context.Context) error {
	if p.known && len(p.out) == 0 {
		p.looked = time.Now()
		return nil
	}
	rows, err := p.r.deps.Store.Outstanding(ctx)
	if err != nil {
		return err
	}
	now := make(map[segmentKey]bool, len(rows))
	for _, g := range rows {
		k := segmentKey{g.JobID, g.N}
		now[k] = true
		if _, known := p.out[k]; !known {
			p.out[k] = g // released in a former life
		}
	}
	p.known = true
	var gone []store.Segment
	busy := map[string]bool{}
	for k, g := range p.out {
		busy[g.Pool] = true
		if !now[k] {
			gone = append(gone, g)
		}
	}
	var outcomes []store.Outcome
	if len(gone) > 0 {
		if outcomes, err = p.r.deps.Store.Outcomes(ctx, gone); err != nil {
			return err
		}
	}
	p.settle(ctx, gone, outcomes, busy)
	return nil
}

func (p *pass) settle(ctx context.Context, gone []store.Segment, outcomes []store.Outcome, busy map[string]bool) {
	elapsed := time.Since(p.looked)
	first := p.looked.IsZero()
	p.looked = time.Now()
	ends := make(map[segmentKey]store.Outcome, len(outcomes))
	for _, o := range outcomes {
		ends[segmentKey{o.JobID, o.N}] = o
	}
	done := map[string]float64{}
	var revoked []store.Segment
	for _, g := range gone {
		k := segmentKey{g.JobID, g.N}
		delete(p.out, k)
		switch o, there := ends[k]; {
		case !there, o.State == job.SegmentCancelled:
			revoked = append(revoked, g)
		case o.State == job.SegmentDone:
			done[g.Pool] += g.Seconds
			p.queue.Settle(g.Tenant, g.Class, o.Seconds-g.Seconds)
		case o.State == job.SegmentFailed:
			done[g.Pool] += g.Seconds
		}
	}
	if !first {
		for pool := range busy {
			p.pace(pool).Observe(done[pool], elapsed)
		}
	}
	p.revoke(ctx, revoked)
}

// revoke removes the messages of segments that nobody wants any more. It is a
// courtesy: a worker that gets one asks Postgres first and drops it.
func (p *pass) revoke(ctx context.Context, segments []store.Segment) {
	if len(segments) == 0 {
		return
	}
	for i := range segments {
		p.queue.Remove(segments[i].JobID)
	}
	p.unsent = slices.DeleteFunc(p.unsent, func(w bus.Work) bool {
		return slices.ContainsFunc(segments, func(g store.Segment) bool { return g.JobID == w.JobID && g.N == w.N })
	})
	if err := p.r.deps.Bus.PurgeWork(ctx, works(segments)); err != nil {
		p.r.deps.Log.WarnContext(ctx, "messages of cancelled segments not removed", slog.String("error", err.Error()))
	}
}
