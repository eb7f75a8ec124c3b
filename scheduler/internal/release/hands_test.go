package release_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// hands do what workers and a gateway do, with their own statements.
type hands struct {
	db              *pg.Pool
	worker, gateway pg.Queries
	dropped         [][]byte // keys of renditions that could not be read
}

func newHands(db *pg.Pool) (*hands, error) {
	h := &hands{db: db}
	var err error
	if h.worker, err = pg.LoadQueries(os.DirFS("../../../worker/internal/store"), "sql"); err != nil {
		return nil, err
	}
	h.gateway, err = pg.LoadQueries(os.DirFS("../../../gateway/internal/store"), "sql")
	return h, err
}

// outcome is what became of a segment of a bundle.
type outcome struct {
	bundle  bus.Bundle
	segment bus.Segment
	state   string // done, pending, failed, died
}

// claim notes that a delivery begins, and returns what is left of it.
func (h *hands) claim(ctx context.Context, d bus.Delivery[bus.Bundle]) (left uint64, err error) {
	b := d.Value
	rows, err := h.db.Query(ctx, h.worker.Get("Claim"), []int64{b.Job}, []int32{int32(b.N())}, []int32{int32(b.Attempt)}, []bool{d.Deliveries > 1}, //nolint:gosec // small
		[]int64{}, []int32{}, []int32{}, []int32{}, [][]byte{}) // what is stored is not asked for
	if err != nil {
		return 0, err
	}
	var num, mask, stored int64
	var n, attempt, deaths, died int
	_, err = pgx.ForEachRow(rows, []any{&num, &n, &attempt, &mask, &deaths, &died, &stored}, func() error { left = uint64(mask); return nil }) //nolint:gosec // a bit set
	return left, err
}

// outcomes are the columns of a settle.
type outcomes struct {
	jobs                        []int64
	bundle, attempt, n, chapter []int32
	states, kinds               []string
	keys                        [][]byte
	seconds, zero               []float64
	audio                       []*float64 // of what is done
	made                        struct {
		keys           [][]byte
		tenants, empty []string
		rates, samples []int32
		marks          []*string
	}
}

func (c *outcomes) add(o *outcome) error {
	key, err := hex.DecodeString(o.segment.RenditionKey)
	if err != nil {
		return err
	}
	c.jobs, c.bundle, c.attempt = append(c.jobs, o.bundle.Job), append(c.bundle, int32(o.bundle.N())), append(c.attempt, int32(o.bundle.Attempt)) //nolint:gosec // small
	c.n, c.chapter = append(c.n, int32(o.segment.N)), append(c.chapter, int32(o.segment.Chapter))                                                 //nolint:gosec // small
	c.states, c.keys = append(c.states, o.state), append(c.keys, key)
	c.seconds, c.zero = append(c.seconds, o.segment.PredictedSeconds), append(c.zero, 0)
	if o.state != "done" {
		c.kinds, c.audio = append(c.kinds, "engine"), append(c.audio, nil)
		return nil
	}
	m := &c.made
	m.keys, m.tenants, m.empty = append(m.keys, key), append(m.tenants, string(o.bundle.Tenant)), append(m.empty, "")
	m.rates, m.marks = append(m.rates, int32(o.segment.SampleRate)), append(m.marks, nil)                  //nolint:gosec // small
	m.samples = append(m.samples, max(1, int32(o.segment.PredictedSeconds*float64(o.segment.SampleRate)))) //nolint:gosec // small
	c.kinds, c.audio = append(c.kinds, ""), append(c.audio, &o.segment.PredictedSeconds)
	return nil
}

// settle stores outcomes as a worker does, and returns which of them counted.
func (h *hands) settle(ctx context.Context, list []outcome) (applied []bool, err error) {
	var c outcomes
	for i := range list {
		if err := c.add(&list[i]); err != nil {
			return nil, err
		}
	}
	applied, err = h.settleAs(ctx, &c, "AddRenditions")
	if job.KindOf(err) == job.Conflict { // another made one of them
		clear(c.audio)
		applied, err = h.settleAs(ctx, &c, "AddMissingRenditions")
	}
	return applied, err
}

func (h *hands) settleAs(ctx context.Context, c *outcomes, add string) (applied []bool, err error) {
	err = pg.Tx(ctx, h.db, func(tx pgx.Tx) error {
		applied = make([]bool, len(c.jobs))
		var b pgx.Batch
		b.Queue(h.worker.Get("LockJobs"), c.jobs)
		if m := &c.made; len(m.keys) > 0 {
			levels, ends := make([]*float32, len(m.keys)), make([]*int32, len(m.keys)) // of sound that there is not
			b.Queue(h.worker.Get(add), m.keys, m.tenants, m.empty, m.rates, m.samples, m.samples, m.keys, m.empty, m.marks,
				levels, levels, levels, ends, ends, m.marks)
		}
		b.Queue(h.worker.Get("Settle"), c.jobs, c.bundle, c.attempt, c.n, c.chapter, c.states, c.keys, c.seconds, c.zero, c.zero, c.kinds, c.kinds, c.audio).Query(
			func(rows pgx.Rows) error {
				var i int
				var audio float64
				_, err := pgx.ForEachRow(rows, []any{&i, &audio}, func() error { applied[i-1] = true; return nil })
				return err
			})
		b.Queue(h.worker.Get("AdvanceJobs"), c.jobs, c.chapter)
		return tx.SendBatch(ctx, &b).Close()
	})
	return applied, err
}

// How a join goes.
type fate int

const (
	well    fate = iota
	inVain       // it is to be tried again
	damaged      // its renditions cannot be read
)

// join begins what is due and does it: a chapter becomes ready, or its segments
// work again, or its job ends.
func (h *hands) join(ctx context.Context, a bus.Assembly, again bool, how fate) error {
	kind := "assemble"
	if a.Ordinal == 0 {
		kind = "finish"
	}
	var started int
	err := h.db.QueryRow(ctx, h.worker.Get("BeginDue"), kind, a.JobID, a.Ordinal, a.Attempt, again).Scan(&started)
	if err != nil {
		if job.KindOf(pg.Classify(err)) == job.NotFound {
			return nil
		}
		return err
	}
	if how == inVain {
		_, err := h.db.Exec(ctx, h.worker.Get("PostponeDue"), kind, a.JobID, a.Ordinal, a.Attempt, 0.0, 1, "engine", "x")
		return err
	}
	return pg.Tx(ctx, h.db, func(tx pgx.Tx) error {
		var state job.State
		var final bool
		if err := tx.QueryRow(ctx, h.worker.Get("LockJob"), a.JobID).Scan(&state, &final); err != nil || final {
			return err
		}
		if a.Ordinal == 0 {
			return h.finish(ctx, tx, a.JobID)
		}
		broken, gone, err := h.broken(ctx, tx, a, how)
		if err != nil || len(broken)+len(gone) > 0 {
			return errors.Join(err, h.reopen(ctx, tx, a, broken, gone))
		}
		return h.ready(ctx, tx, a)
	})
}

// broken returns the renditions of a chapter that cannot be read and those that
// are gone.
func (h *hands) broken(ctx context.Context, tx pgx.Tx, a bus.Assembly, how fate) (broken, gone [][]byte, err error) {
	rows, err := tx.Query(ctx, `select distinct s.rendition_key, r.key is null from jobs j join chapters c on c.job_id = j.id and c.ordinal = $2
		cross join lateral segments_between(j.num, c.first_segment, c.first_segment + c.segments_total - 1) s
		left join renditions r on r.key = s.rendition_key where j.id = $1 and s.state in ('done', 'reused') order by 1`, a.JobID, a.Ordinal)
	if err != nil {
		return nil, nil, err
	}
	var key []byte
	var missing bool
	_, err = pgx.ForEachRow(rows, []any{&key, &missing}, func() error {
		switch {
		case missing:
			gone = append(gone, slices.Clone(key))
		case how == damaged:
			broken = append(broken, slices.Clone(key))
		}
		return nil
	})
	return broken, gone, err
}

// reopen makes segments of a chapter work again; renditions that cannot be read go.
func (h *hands) reopen(ctx context.Context, tx pgx.Tx, a bus.Assembly, broken, gone [][]byte) error {
	var num int64
	var attempts int
	err := tx.QueryRow(ctx, `select num, attempts from jobs j join chapters c on c.job_id = j.id where j.id = $1 and ordinal = $2`, a.JobID, a.Ordinal).Scan(&num, &attempts)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, h.worker.Get("ReopenChapter"), a.JobID, a.Ordinal, attempts)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	all := slices.Concat(broken, gone)
	var b pgx.Batch
	b.Queue(h.worker.Get("ReopenSegments"), a.JobID, num, a.Ordinal, all, "engine", make([]string, len(all)))
	b.Queue(h.worker.Get("DropRenditions"), broken, make([]string, len(broken)))
	b.Queue(h.worker.Get("DropOutbox"), "assemble", a.JobID, a.Ordinal)
	b.Queue(h.worker.Get("AdvanceJob"), a.JobID)
	h.dropped = append(h.dropped, broken...)
	return tx.SendBatch(ctx, &b).Close()
}

func (h *hands) ready(ctx context.Context, tx pgx.Tx, a bus.Assembly) error {
	var attempts int
	var proof []byte
	err := tx.QueryRow(ctx, `select attempts, plan_digest from chapters where job_id = $1 and ordinal = $2`, a.JobID, a.Ordinal).Scan(&attempts, &proof)
	if err != nil {
		return err
	}
	object := fmt.Sprintf("jobs/%s/%d.wav", a.JobID, a.Ordinal)
	tag, err := tx.Exec(ctx, h.worker.Get("ReadyChapter"), a.JobID, a.Ordinal, attempts, proof, 22050, 1, object, object, 1, proof, "audio/wav", 1.0, nil, "", "", "")
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	_, err = tx.Exec(ctx, h.worker.Get("AdvanceJob"), a.JobID)
	return err
}

func (h *hands) finish(ctx context.Context, tx pgx.Tx, id job.ID) error {
	var failed, ready int
	var partial bool
	digest := job.NewOrderDigest()
	err := tx.QueryRow(ctx, `select segments_failed, chapters_ready, on_failure = 'partial' from jobs where id = $1`, id).Scan(&failed, &ready, &partial)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `select proof_digest from chapters where job_id = $1 and state = 'ready' order by ordinal`, id)
	if err != nil {
		return err
	}
	var proof []byte
	if _, err = pgx.ForEachRow(rows, []any{&proof}, func() error { digest.Add(hex.EncodeToString(proof)); return nil }); err != nil {
		return err
	}
	state, kind := job.StateFailed, "engine"
	switch {
	case failed == 0:
		state, kind = job.StateSucceeded, ""
	case partial && ready > 0:
		state = job.StatePartial
	}
	tag, err := tx.Exec(ctx, h.worker.Get("FinishJob"), id, state, digest.Sum(), kind, kind, nil, nil, nil, nil, nil, nil, nil, nil, "", "", "", false)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return h.tell(ctx, tx, id, job.FinalEvent(state))
}

func (h *hands) tell(ctx context.Context, tx pgx.Tx, id job.ID, event string) error {
	token, err := job.NewToken("dlv_", rand.Reader)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, h.gateway.Get("InsertDelivery"), token, "default", id, event, "https://example.org/x")
	return err
}

// cancel cancels a job as the gateway does and reports whether it was open, and
// the version that it has then.
func (h *hands) cancel(ctx context.Context, id job.ID) (changed bool, version int64, err error) {
	err = pg.Tx(ctx, h.db, func(tx pgx.Tx) error {
		changed = false
		var num int64
		var state job.State
		var class job.Class
		var callback []byte
		if err := tx.QueryRow(ctx, h.gateway.Get("LockJob"), id, "default").Scan(&num, &state, &class, &callback); err != nil || state.Final() {
			return err
		}
		if _, err := tx.Exec(ctx, h.gateway.Get("DropWork"), num); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, h.gateway.Get("CancelJob"), id).Scan(&version); err != nil {
			return err
		}
		changed = true
		return h.tell(ctx, tx, id, job.EventCancelled)
	})
	return changed, version, err
}
