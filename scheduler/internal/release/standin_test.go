package release_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

const (
	settlers     = 2  // connections that settle
	sizeBundles  = 16 // of one settle
	oneInFails   = 100
	retryDelay   = 0.2 // seconds
	sizeOfAFetch = 100 * time.Millisecond
)

// standIn does what workers do without an engine and a bucket: it settles what
// is released and joins what is due, with the worker's own statements. One in a
// hundred segments fails at first and comes again.
type standIn struct {
	*bench
	sql      pg.Queries
	settled  atomic.Int64 // segments that are done
	pace     atomic.Int64 // segments a second; 0 for as fast as it goes
	settling atomic.Int64 // nanoseconds of transactions that settled
}

// report says what it takes: as much as it can settle in about a second.
func (s *standIn) report(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.r.Capacity(bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 4096, Batch: 16, Static: true, Goodput: 50_000})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *standIn) work(ctx context.Context) error {
	next := time.Now()
	for ctx.Err() == nil {
		got, err := s.bus.FetchWork(ctx, storetest.Pool, job.Bulk, sizeBundles, sizeOfAFetch)
		if err != nil || len(got) == 0 {
			continue // the stop, or nothing there
		}
		n, err := s.settle(ctx, got)
		if err != nil {
			return err
		}
		s.settled.Add(int64(n))
		pace := s.pace.Load()
		if pace == 0 {
			next = time.Now()
			continue
		}
		next = next.Add(time.Duration(float64(n*settlers) / float64(pace) * float64(time.Second)))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(next)):
		}
	}
	return nil
}

// columns are the outcomes of bundles as the statements take them.
type columns struct {
	jobs, of                    []int64
	ns, attempts                []int32
	again                       []bool
	bundle, attempt, n, chapter []int32
	states, tenants, kinds      []string
	empty                       []string
	keys, added                 [][]byte
	seconds, zero, delays       []float64
	audio                       []*float64
	rates, samples              []int32
	marks                       []*string
	done                        int
	notes                       []bus.Settled
}

func (c *columns) bundles(got []bus.Delivery[bus.Bundle]) error {
	for _, d := range got {
		b := &d.Value
		c.jobs, c.ns, c.attempts, c.again = append(c.jobs, b.Job), append(c.ns, int32(b.N())), append(c.attempts, int32(b.Attempt)), append(c.again, d.Deliveries > 1) //nolint:gosec // small
		for i := range b.Segments {
			if err := c.segment(b, &b.Segments[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *columns) segment(b *bus.Bundle, g *bus.Segment) error {
	key, err := hex.DecodeString(g.RenditionKey)
	if err != nil {
		return err
	}
	state, delay, kind, audio := job.SegmentDone, 0.0, "", &g.PredictedSeconds
	if b.Attempt == 1 && rand.N(oneInFails) == 0 { //nolint:gosec // not a secret
		state, delay, kind, audio = job.SegmentPending, retryDelay, job.Engine.String(), nil
	} else {
		c.done++
		c.added, c.tenants, c.empty, c.marks = append(c.added, key), append(c.tenants, string(b.Tenant)), append(c.empty, ""), append(c.marks, nil)
		c.rates, c.samples = append(c.rates, int32(g.SampleRate)), append(c.samples, int32(g.PredictedSeconds*float64(g.SampleRate))) //nolint:gosec // small
	}
	c.of, c.bundle, c.attempt = append(c.of, b.Job), append(c.bundle, int32(b.N())), append(c.attempt, int32(b.Attempt))     //nolint:gosec // small
	c.n, c.chapter, c.states = append(c.n, int32(g.N)), append(c.chapter, int32(g.Chapter)), append(c.states, string(state)) //nolint:gosec // small
	c.keys, c.seconds, c.zero = append(c.keys, key), append(c.seconds, g.PredictedSeconds), append(c.zero, 0)
	c.delays, c.kinds, c.audio = append(c.delays, delay), append(c.kinds, kind), append(c.audio, audio)
	c.notes = append(c.notes, bus.Settled{
		Job: b.Job, N: g.N, Attempt: b.Attempt, Tenant: b.Tenant, Class: b.Class, Pool: b.Pool, Predicted: g.PredictedSeconds, Actual: g.PredictedSeconds,
	})
	return nil
}

// settle claims bundles and settles all of their segments. It returns how many are done.
func (s *standIn) settle(ctx context.Context, got []bus.Delivery[bus.Bundle]) (int, error) {
	ctx = context.WithoutCancel(ctx) // what was begun is finished
	var c columns
	if err := c.bundles(got); err != nil {
		return 0, err
	}
	if _, err := s.DB.Exec(ctx, s.sql.Get("Claim"), c.jobs, c.ns, c.attempts, c.again, c.of, c.bundle, c.attempt, c.n, c.keys); err != nil {
		return 0, err
	}
	details := make([]string, len(c.of))
	begin := time.Now()
	err := pg.Tx(ctx, s.DB, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(s.sql.Get("LockJobs"), c.jobs)
		levels, ends := make([]*float32, len(c.added)), make([]*int32, len(c.added)) // of sound that there is not
		b.Queue(s.sql.Get("AddRenditions"), c.added, c.tenants, c.empty, c.rates, c.samples, c.samples, c.added, c.empty, c.marks,
			levels, levels, levels, ends, ends, c.marks)
		b.Queue(s.sql.Get("Settle"), c.of, c.bundle, c.attempt, c.n, c.chapter, c.states, c.keys, c.seconds, c.zero, c.delays, c.kinds, details, c.audio)
		b.Queue(s.sql.Get("AdvanceJobs"), c.of, c.chapter)
		b.Queue(s.sql.Get("JobVersions"), c.jobs)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return 0, err
	}
	s.settling.Add(int64(time.Since(begin)))
	if err := ackAll(ctx, got); err != nil {
		return 0, err
	}
	s.r.Settled(c.notes)
	return c.done, nil
}

func ackAll[T any](ctx context.Context, got []bus.Delivery[T]) (err error) {
	acks := make(chan error, len(got))
	for _, d := range got {
		go func() { acks <- d.Ack(ctx) }()
	}
	for range got {
		err = errors.Join(err, <-acks)
	}
	return err
}

// join makes chapters ready and ends jobs, without their audio.
func (s *standIn) join(ctx context.Context) error {
	for ctx.Err() == nil {
		got, err := s.bus.FetchAssembly(ctx, job.Bulk, sizeBundles, sizeOfAFetch)
		if err != nil || len(got) == 0 {
			continue
		}
		through := context.WithoutCancel(ctx)
		for _, d := range got {
			if err := s.joinOne(through, d.Value); err != nil {
				return err
			}
		}
		if err := ackAll(through, got); err != nil {
			return err
		}
		s.r.Settled([]bus.Settled{{Pool: bus.PoolAssemble}})
	}
	return nil
}

func (s *standIn) joinOne(ctx context.Context, a bus.Assembly) error {
	var proof []byte
	if a.Ordinal == 0 {
		if err := s.DB.QueryRow(ctx, `select plan_digest from jobs where id = $1`, a.JobID).Scan(&proof); err != nil {
			return err
		}
	} else if err := s.DB.QueryRow(ctx, `select plan_digest from chapters where job_id = $1 and ordinal = $2`, a.JobID, a.Ordinal).Scan(&proof); err != nil {
		return err
	}
	return pg.Tx(ctx, s.DB, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(s.sql.Get("LockJob"), a.JobID)
		if a.Ordinal == 0 {
			b.Queue(s.sql.Get("FinishJob"), a.JobID, job.StateSucceeded, proof, "", "", nil, nil, nil, nil, nil, nil, nil, nil, "", "", "", false)
		} else {
			b.Queue(s.sql.Get("ReadyChapter"), a.JobID, a.Ordinal, 0, proof, storetest.SampleRate, 1, "chapter.wav", fmt.Sprintf("jobs/%s/%d.wav", a.JobID, a.Ordinal), 1, proof,
				"audio/wav", 1.0, nil, "", "", "")
			b.Queue(s.sql.Get("AdvanceJob"), a.JobID)
		}
		return tx.SendBatch(ctx, &b).Close()
	})
}
