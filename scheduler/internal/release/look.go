package release

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// recover publishes all that is out once more: at the start of a term, since
// the former leader may have ended between the mark and the publish, and when
// WORK was lost. What is there already is refused, so this harms nothing.
func (l *loop) recover(ctx context.Context) error {
	if l.known && time.Since(l.looked) < l.r.cfg.Tick {
		return nil
	}
	mark, err := l.r.deps.Bus.MarkWork(ctx)
	if err != nil {
		return err
	}
	if l.known && !mark.LostSince(l.mark) {
		l.mark = mark
		return nil
	}
	if !l.known {
		if err := l.turns.restore(ctx, l.store.Store); err != nil {
			return err
		}
	} else {
		l.r.deps.Log.WarnContext(ctx, "WORK was lost; what is out is published again", slog.Int("bundles", len(l.out)), slog.Int("joins", len(l.joins)))
	}
	if l.known || mark.Empty() {
		if mark, err = l.r.deps.Bus.RenewWork(ctx); err != nil {
			return err
		}
	}
	for after, more := (store.BundleID{}), true; more; {
		if after, more, err = l.again(ctx, after, 0); err != nil {
			return err
		}
	}
	for _, j := range l.joins {
		l.unsentJoins = append(l.unsentJoins, j)
	}
	l.mark, l.known = mark, true
	return nil
}

// sweep publishes a page of what has been out for long. Page by page it reaches
// everything, whatever else is out.
func (l *loop) sweep(ctx context.Context) error {
	if time.Now().Before(l.sweepAt) {
		return nil
	}
	after, more, err := l.again(ctx, l.swept, l.r.cfg.SweepAfter)
	if err != nil {
		return err
	}
	l.swept, l.sweepAt = after, time.Now().Add(time.Second)
	if !more {
		l.swept = store.BundleID{}
		for _, j := range l.joins {
			if time.Since(j.at) > l.r.cfg.SweepAfter {
				j.at = time.Now()
				l.unsentJoins = append(l.unsentJoins, j)
				l.observe(j.Pool(), j.Class, 0, 1)
			}
		}
	}
	return nil
}

// again takes a page of what is out after the given bundle. What is older than
// age is to be published again, what was not known becomes known, and what
// belongs to a job that has ended is dropped. It reports whether there is more.
func (l *loop) again(ctx context.Context, after store.BundleID, age time.Duration) (store.BundleID, bool, error) {
	rows, err := l.store.OutstandingAfter(ctx, after, sweepPage)
	if err != nil || len(rows) == 0 {
		return after, false, err
	}
	var dead []store.BundleID
	var ids []store.BlockID
	for i := range rows {
		if rows[i].Open {
			ids = append(ids, store.BlockOf(rows[i].Job, rows[i].N))
		} else {
			dead = append(dead, rows[i].BundleID)
		}
	}
	got, err := l.load(ctx, ids)
	if err != nil {
		return after, false, err
	}
	for i := range rows {
		b := got[store.BlockOf(rows[i].Job, rows[i].N)]
		if !rows[i].Open || b == nil {
			continue
		}
		o := l.adopt(&rows[i], b)
		if rows[i].Age >= age.Seconds() {
			l.unsent = append(l.unsent, o)
			if age > 0 {
				l.observe(o.pool, o.owner.Class, 0, 1)
			}
		}
	}
	if len(dead) > 0 {
		err = l.store.Drop(ctx, dead)
	}
	return rows[len(rows)-1].BundleID, len(rows) == sweepPage, err
}

// adopt returns the bundle of a row, which is new to the loop if another let it out.
func (l *loop) adopt(row *store.Out, b *block) *bundle {
	if o := l.out[row.BundleID]; o != nil {
		return o
	}
	o := &bundle{
		BundleID: row.BundleID, pool: row.Pool, left: row.Mask, solo: row.Solo, spared: row.Spared, keys: map[int][32]byte{},
		owner: store.Owner{ID: row.JobID, Num: row.Job, Tenant: row.Tenant, Weight: row.Weight, Class: row.Class},
	}
	o.fill(b)
	l.goes(o)
	l.turns.out(o)
	return o
}

// fill notes what the loop must remember of the segments of b that are out.
func (o *bundle) fill(b *block) {
	for i := range b.Segments {
		if o.left>>i&1 == 1 {
			o.seconds[i], o.keys[i] = float32(b.Segments[i].PredictedSeconds), b.Keys[i]
		}
	}
}

// look compares what the loop thinks is out with Postgres.
func (l *loop) look(ctx context.Context) error {
	if time.Since(l.looked) < l.r.cfg.Tick {
		return nil
	}
	var left map[store.BundleID]uint64
	var err error
	if len(l.out) > 0 { // else there is nothing to compare; the sweep finds what is not known here
		if left, err = l.store.Outstanding(ctx); err != nil {
			return err
		}
	}
	// Read after what is out, so that whatever a command took back of it is told here.
	if l.changes, err = l.store.Changes(ctx, page); err != nil {
		return err
	}
	back := recalledJobs(l.changes)
	for id, b := range l.out {
		switch now := left[id]; {
		case now == b.left:
		case now == 0 && back[b.Job]:
			l.recalled(b)
		default:
			l.gone(b, now)
		}
	}
	if len(l.joins) > 0 {
		rows := make([]int64, 0, len(l.joins))
		for row := range l.joins {
			rows = append(rows, row)
		}
		out, err := l.store.OutboxOut(ctx, rows)
		if err != nil {
			return err
		}
		for row, j := range l.joins {
			if out[row] != j.Attempt {
				l.joined(j)
			}
		}
	}
	l.looked = time.Now()
	return nil
}

func (l *loop) joined(j *joining) {
	delete(l.joins, j.Row)
	l.outNow(j.Pool(), j.Class, -1)
	l.turns.joined(j)
}

// publish sends what is marked as out. What the bus does not take stays for the
// next step; should this process end first, its successor publishes it.
func (l *loop) publish(ctx context.Context) error {
	return errors.Join(l.publishBundles(ctx), l.publishJoins(ctx))
}

func (l *loop) publishBundles(ctx context.Context) error {
	var last error
	for len(l.unsent) > 0 && last == nil {
		some := l.unsent[:min(len(l.unsent), sweepPage)]
		rest := slices.Clone(l.unsent[len(some):])
		messages, sent, err := l.messages(ctx, some)
		if err != nil {
			return err
		}
		var left []*bundle
		for i, err := range l.r.deps.Bus.PublishWork(ctx, messages) {
			if err == nil {
				sent[i].block = nil
				continue
			}
			if !job.Retryable(err) {
				err = l.refuse(ctx, sent[i], messages[i], err)
			}
			if err != nil {
				left, last = append(left, sent[i]), err
			}
		}
		l.unsent = append(left, rest...)
	}
	return last
}

// messages returns what travels for bundles that are still out.
func (l *loop) messages(ctx context.Context, bundles []*bundle) ([]bus.Bundle, []*bundle, error) {
	var ids []store.BlockID
	for _, o := range bundles {
		if _, ok := l.terms[o.Job]; o.block == nil || !ok {
			ids = append(ids, store.BlockOf(o.Job, o.N))
		}
	}
	got, err := l.load(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	messages, sent := make([]bus.Bundle, 0, len(bundles)), make([]*bundle, 0, len(bundles))
	for _, o := range bundles {
		b := o.block
		if b == nil {
			b = got[store.BlockOf(o.Job, o.N)]
		}
		if b != nil && o.left != 0 && l.out[o.BundleID] == o {
			messages, sent = append(messages, l.message(b, o)), append(sent, o)
		}
	}
	return messages, sent, nil
}

// refuse deals with a bundle that cannot travel whatever is tried: its segments
// come again one by one, and one that is alone already fails with the reason.
func (l *loop) refuse(ctx context.Context, o *bundle, m bus.Bundle, why error) error {
	log := l.r.deps.Log.With(slog.String("job_id", string(o.owner.ID)), slog.Int("segment", o.N), slog.String("error", why.Error()))
	if len(m.Segments) > 1 {
		log.WarnContext(ctx, "bundle cannot be published; its segments come one by one")
		if err := l.store.Split(ctx, o.BundleID); err != nil {
			return err
		}
		l.gone(o, 0)
		return nil
	}
	log.ErrorContext(ctx, "segment cannot be published")
	detail := "The text cannot be handed to a speech worker."
	if job.KindOf(why) == job.TooLarge {
		detail = "The text is too long to be handed to a speech worker."
	}
	g := m.Segments[0]
	v, err := l.store.Fail(ctx, o.BundleID, g.Chapter, g.PredictedSeconds, job.KindOf(why), detail)
	if err != nil {
		return err
	}
	l.gone(o, 0)
	l.r.deps.Bus.Hint(v.ID, v.Version)
	return nil
}

func (l *loop) publishJoins(ctx context.Context) error {
	if len(l.unsentJoins) == 0 {
		return nil
	}
	messages, sent := make([]bus.Assembly, 0, len(l.unsentJoins)), make([]*joining, 0, len(l.unsentJoins))
	for _, j := range l.unsentJoins {
		if l.joins[j.Row] == j {
			messages = append(messages, bus.Assembly{JobID: j.ID, Ordinal: j.Ordinal, Encode: j.Encode, Attempt: j.Attempt, Class: j.Class})
			sent = append(sent, j)
		}
	}
	l.unsentJoins = nil
	var last error
	for i, err := range l.r.deps.Bus.PublishAssembly(ctx, messages) {
		switch {
		case err == nil:
		case job.Retryable(err):
			l.unsentJoins, last = append(l.unsentJoins, sent[i]), err
		default: // not a matter of time; the sweep tries it again
			l.r.deps.Log.ErrorContext(ctx, "join cannot be published", slog.String("job_id", string(sent[i].ID)), slog.String("error", err.Error()))
		}
	}
	return last
}
