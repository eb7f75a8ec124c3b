package store

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// smallBlocks is how many blocks are stored by a statement each. More are copied.
const smallBlocks = 4

// isPlansLost reports that a batch changed nothing because one of its jobs is not
// planned under its attempt any more.
func isPlansLost(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == "VM002"
}

// small reports whether plans can be stored in one round trip: all of their blocks
// are in hand, and few.
func (w *blockWriter) small(plans []Plan) bool {
	for i := range plans {
		if plans[i].Cover != nil {
			return false
		}
	}
	return !w.flushed && len(w.buffer) <= smallBlocks
}

// atOnce is finish in one round trip, for plans that are small. It stores all of them
// or none.
func (w *blockWriter) atOnce(ctx context.Context, plans []Plan) (done []Planned, err error) {
	all, reused := make(map[int64]bool, len(plans)), false
	for i := range plans {
		all[plans[i].Num] = true
		reused = reused || w.totals[plans[i].ID].reused > 0
	}
	w.handOn(plans)
	q, err := w.columns(plans, all)
	if err != nil {
		return nil, err
	}
	err = pg.Batch(ctx, w.s.pool, func(b *pgx.Batch) error {
		b.Queue(w.s.q.Get("HoldLease"), w.s.lease.Name, w.s.lease.Epoch)
		b.Queue(w.s.q.Get("HoldPlans"), w.nums, w.attempts)
		if err := w.queueBlocks(b); err != nil {
			return err
		}
		c := w.chapters
		b.Queue(w.s.q.Get("InsertChapters"), c.jobs, c.ordinals, c.titles, c.matters, c.first, c.total, c.done, c.digests)
		b.Queue(w.s.q.Get("InsertQueues"), q.queues()...)
		read := func(rows pgx.Rows) (err error) {
			versions, err := collectVersions(rows, nil)
			done = w.planned(versions)
			return err
		}
		b.Queue(w.s.q.Get("QueueJobs"), q.jobs()...).Query(read)
		if !reused {
			return nil
		}
		if err := w.s.queueNotices(b, q.notices); err != nil {
			return err
		}
		b.Queue(w.s.q.Get("AdvanceJobs"), q.ids) // a chapter may be whole already
		b.Queue(w.s.q.Get("JobVersions"), q.ids).Query(read)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// queueBlocks adds the blocks in hand, in the place of what a former attempt has left.
func (w *blockWriter) queueBlocks(b *pgx.Batch) error {
	b.Queue(w.s.q.Get("DropBlocks"), w.nums)
	for _, k := range w.buffer {
		row, err := k.row()
		if err != nil {
			return err
		}
		b.Queue(w.s.q.Get("InsertBlock"), row...)
	}
	return nil
}

// Fresh is what a plan of one block leaves to be released, as whoever releases it
// would read it: [Store.QueuesOf], [Store.Terms] and [Store.Blocks] tell the same
// until a command changes the job.
type Fresh struct {
	Queues []Queue
	Terms  Terms
	Block  *Block

	version int64 // of the job, if nobody changed it since the claim
}

// freshBytes bounds the memory that a Fresh takes: thousands may wait for their turn.
const freshBytes = 8 << 10

// as returns f for a job that has come to a version; nil if it may have changed meanwhile.
func (f *Fresh) as(version int64) *Fresh {
	if f == nil || f.version != version {
		return nil
	}
	return f
}

// handOn notes what of the blocks in hand is to be released, of interactive jobs.
func (w *blockWriter) handOn(plans []Plan) {
	w.fresh = map[job.ID]*Fresh{}
	blocks := make(map[job.ID]*block, len(w.buffer))
	for _, k := range w.buffer {
		blocks[k.id] = k
	}
	for i := range plans {
		c, t, k := plans[i].Claim, w.totals[plans[i].ID], blocks[plans[i].ID]
		if c == nil || c.Class != job.Interactive || t.blocks != 1 {
			continue
		}
		f := &Fresh{Terms: termsOf(&c.Spec), Block: k.read(), version: c.Version + 1}
		if f.Block.Bytes > freshBytes {
			continue
		}
		for pool, seconds := range t.waiting {
			f.Queues = append(f.Queues, Queue{Owner: c.Owner, Pool: pool, Seconds: float64(float32(seconds)), Total: t.segments, Queued: true})
		}
		w.fresh[plans[i].ID] = f
	}
}

// termsOf returns the terms of a job with a normalized spec.
func termsOf(spec *job.Spec) Terms {
	t := Terms{
		Speed: spec.Speed, Seed: spec.Seed, Instructions: spec.Instructions, Callback: spec.Callback, Verify: spec.Verify, OnDoubt: spec.OnDoubt,
	}
	if t.Verify == job.VerifyNone {
		t.Verify = ""
	}
	if t.OnDoubt == job.RetryDoubtful {
		t.OnDoubt = ""
	}
	return t
}

// read returns the block as scanBlock does.
func (k *block) read() *Block {
	b := &Block{
		BlockID: BlockID{k.num, k.b}, Segments: make([]bus.Segment, len(k.segments)), Keys: make([][32]byte, len(k.segments)),
		Pools: columnOf(k.segments, func(g *PlannedSegment) string { return g.Pool }), Turns: k.turns(), Reused: k.reused,
	}
	for i := range k.segments {
		g := &k.segments[i]
		b.Keys[i] = [keySize]byte(k.keys[keySize*i:])
		b.Segments[i] = bus.Segment{
			N: g.N, Chapter: g.Chapter, Voice: g.Voice, Language: g.Language, Text: g.Text, Instructions: g.Instructions,
			Pronunciations: g.Pronunciations, PredictedSeconds: g.Seconds, SampleRate: g.SampleRate, RenditionKey: hex.EncodeToString(b.Keys[i][:]),
		}
		b.Bytes += segmentBytes(&b.Segments[i])
	}
	return b
}
