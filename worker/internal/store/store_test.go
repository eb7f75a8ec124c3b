package store_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func open(t *testing.T) (*store.Store, *pg.Pool) {
	t.Helper()
	pool := testkit.Postgres(t)
	s, err := store.New(pool, rand.Reader)
	require.NoError(t, err)
	return s, pool
}

// out is one segment that was released.
type out struct {
	bus.Bundle
	bus.Segment `json:"-"` // both have instructions
}

func release(t *testing.T, pool *pg.Pool, p plantest.Plan) (segments []out) {
	t.Helper()
	bundles, err := plantest.Release(t.Context(), pool, p)
	require.NoError(t, err)
	for _, b := range bundles {
		for _, g := range b.Segments {
			segments = append(segments, out{b, g})
		}
	}
	return segments
}

func done(w out) store.Outcome {
	sum := sha256.Sum256([]byte(w.Text))
	return store.Outcome{
		Ref: store.RefOf(w.Bundle), Segment: w.Segment.N, Chapter: w.Chapter, Key: w.RenditionKey, Seconds: w.PredictedSeconds,
		State: job.SegmentDone, GPUSeconds: 0.5,
		Rendition: &store.Rendition{
			Key: w.RenditionKey, Tenant: w.Tenant, SampleRate: 22050, Samples: 44100,
			Bytes: 88244, SHA256: sum[:], Marks: json.RawMessage(`{"sentences":[[0,3,0]],"words":[]}`),
			Sound: &store.Sound{LUFS: -20.5, RMS: -23, TruePeak: -2, Lead: 220, Tail: 440},
		},
	}
}

func failed(w out) store.Outcome {
	o := done(w)
	o.State, o.Rendition, o.ErrorKind, o.ErrorDetail = job.SegmentFailed, nil, job.Engine, "It would not."
	return o
}

func settle(t *testing.T, s *store.Store, os ...store.Outcome) []bool {
	t.Helper()
	res, err := s.Settle(t.Context(), os)
	require.NoError(t, err)
	return res.Applied
}

// counters of a job, in the order of the schema.
type counters struct {
	state                      job.State
	done, failed, ready, lost  int
	doneSeconds, audio, gpu    float64
	chapterDone, chapterFailed int
	version                    int64
}

func count(t *testing.T, pool *pg.Pool, id job.ID) (c counters) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select state, segments_done, segments_failed, chapters_ready, chapters_failed,
		done_seconds, audio_seconds, gpu_seconds, version,
		(select sum(segments_done)::int from chapters where job_id = id), (select sum(segments_failed)::int from chapters where job_id = id)
		from jobs where id = $1`, id).Scan(&c.state, &c.done, &c.failed, &c.ready, &c.lost, &c.doneSeconds, &c.audio, &c.gpu,
		&c.version, &c.chapterDone, &c.chapterFailed))
	return c
}

func outbox(t *testing.T, pool *pg.Pool) []bus.Assembly {
	t.Helper()
	due, err := plantest.Due(t.Context(), pool)
	require.NoError(t, err)
	return due
}

func TestEveryQueryFitsTheSchema(t *testing.T) {
	t.Parallel()
	_, pool := open(t)
	q, err := store.Queries()
	require.NoError(t, err)
	require.NoError(t, q.Check(t.Context(), pool))
}

func TestSettledSegmentsAreCountedAndMakeChaptersDue(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{
		plantest.Sentences("One", "First of one.", "Second of one."), plantest.Sentences("Two", "First of two."),
	}})
	works := release(t, pool, p)
	require.Len(t, works, 3)

	res, err := s.Settle(t.Context(), []store.Outcome{done(works[0]), done(works[2])})
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, res.Applied)
	c := count(t, pool, p.ID)
	require.Equal(t, []store.Change{{ID: p.ID, Version: c.version}}, res.Changes)
	require.Equal(t, job.StateRunning, c.state)
	require.Equal(t, []int{2, 0, 2}, []int{c.done, c.failed, c.chapterDone})
	require.InDelta(t, 4.0, c.audio, 1e-9)
	require.InDelta(t, 1.0, c.gpu, 1e-9)
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Ordinal: 2, Attempt: 1, Class: job.Bulk}}, outbox(t, pool))

	require.Equal(t, []bool{true}, settle(t, s, done(works[1])))
	require.Equal(t, job.StateAssembling, count(t, pool, p.ID).state)
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Ordinal: 1, Attempt: 1, Class: job.Bulk}}, outbox(t, pool))
}

func TestALateWorkerChangesNothing(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
	first := release(t, pool, p)
	retry := done(first[0])
	retry.State, retry.Rendition, retry.ErrorKind, retry.ErrorDetail = job.SegmentPending, nil, job.Engine, "It died."
	require.Equal(t, []bool{true}, settle(t, s, retry))
	second := release(t, pool, p)
	require.Equal(t, 2, second[0].Attempt)

	before := count(t, pool, p.ID)
	for name, late := range map[string]store.Outcome{
		"done under the first attempt":   done(first[0]),
		"failed under the first attempt": failed(first[0]),
		"tried under the first attempt":  retry,
	} {
		require.Equal(t, []bool{false}, settle(t, s, late), name)
	}
	require.Equal(t, before, count(t, pool, p.ID), "late outcomes must not count")

	require.Equal(t, []bool{true}, settle(t, s, done(second[0])))
	before = count(t, pool, p.ID)
	require.Equal(t, []bool{false}, settle(t, s, done(second[0])), "the same outcome again")
	require.Equal(t, before, count(t, pool, p.ID))
}

func TestOneGroupMayHoldALateAndATimelyOutcome(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b")}})
	w := release(t, pool, p)[0]
	late := done(w)
	late.Attempt = 7
	require.Equal(t, []bool{false, true, false}, settle(t, s, late, done(w), failed(w)))
	require.Equal(t, 1, count(t, pool, p.ID).done)
}

func TestARetryWaitsAndIsReleasedAgain(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b")}})
	w := release(t, pool, p)[0]
	o := failed(w)
	o.State, o.DelaySeconds = job.SegmentPending, 3600
	require.Equal(t, []bool{true}, settle(t, s, o))
	require.Empty(t, release(t, pool, p), "released before its time")
	_, err := pool.Exec(t.Context(), `update retries set not_before = now() where job = $1`, p.Num)
	require.NoError(t, err)
	require.Equal(t, 2, release(t, pool, p)[0].Attempt)
}

// ask asks whether w is still wanted, as an engine call does.
func ask(t *testing.T, s *store.Store, ws ...out) []store.Answer {
	t.Helper()
	asks := make([]store.Ask, len(ws))
	for i, w := range ws {
		asks[i] = store.Ask{Ref: store.RefOf(w.Bundle), Segment: w.Segment.N, Key: w.RenditionKey}
	}
	answers, err := s.Begin(t.Context(), asks)
	require.NoError(t, err)
	return answers
}

func claim(t *testing.T, s *store.Store, again bool, b bus.Bundle) (c store.Claimed, there bool) {
	t.Helper()
	found, err := s.Claim(t.Context(), []store.Claim{{Ref: store.RefOf(b), Again: again, Segments: b.Segments}})
	require.NoError(t, err)
	if len(found) == 0 {
		return c, false
	}
	return found[0], true
}

func TestCancelledWorkIsNotWantedAndNotCounted(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
	works := release(t, pool, p)
	require.Equal(t, []store.Answer{{Wanted: true}, {Wanted: true}}, ask(t, s, works...))
	require.NoError(t, plantest.Cancel(t.Context(), pool, p))
	require.Equal(t, []store.Answer{{}, {}}, ask(t, s, works...))
	_, there := claim(t, s, false, works[0].Bundle)
	require.False(t, there)
	require.Equal(t, []bool{false, false}, settle(t, s, done(works[0]), failed(works[1])))
	require.Zero(t, rows(t, pool, `select count(*) from retries`))
}

func TestAStoredRenditionIsFoundAndTheFirstOneCounts(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	chapters := []plantest.Chapter{plantest.Sentences("One", "The same words.")}
	a := plantest.Insert(t, pool, plantest.Book{Chapters: chapters})
	b := plantest.Insert(t, pool, plantest.Book{Chapters: chapters})
	wa, wb := release(t, pool, a)[0], release(t, pool, b)[0]
	require.Equal(t, wa.RenditionKey, wb.RenditionKey)
	before, there := claim(t, s, false, wb.Bundle)
	require.True(t, there)
	require.False(t, before.Rendered(wb.Segment.N))
	require.Equal(t, []bool{true}, settle(t, s, done(wa)))
	require.Equal(t, []store.Answer{{Wanted: true, Rendered: true}}, ask(t, s, wb))
	after, there := claim(t, s, false, wb.Bundle)
	require.True(t, there)
	require.True(t, after.Wants(wb.Segment.N))
	require.True(t, after.Rendered(wb.Segment.N))
	require.False(t, after.Rendered(wb.Segment.N+1))

	other := done(wb)
	other.Rendition.Samples, other.Rendition.Suffix = 99, "-other"
	require.Equal(t, []bool{true}, settle(t, s, other))
	require.InDelta(t, 2.0, count(t, pool, b.ID).audio, 1e-9, "the job must count what the stored rendition has")
	require.Zero(t, rows(t, pool, `select count(*) from renditions where suffix <> ''`))
}

// A worker that found the rendition stored needs it to be there still when it settles.
func TestASegmentIsNotDoneWithoutItsRendition(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b")}})
	o := done(release(t, pool, p)[0])
	o.Rendition = nil
	require.Equal(t, []bool{false}, settle(t, s, o))
	require.Equal(t, 1, rows(t, pool, `select count(*) from outstanding`), "it is still wanted")
}

func TestABundleIsOutUntilItsLastSegmentIsSettled(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	texts := make([]string, 70)
	for i := range texts {
		texts[i] = fmt.Sprintf("Text %d.", i)
	}
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", texts...)}})
	works := release(t, pool, p)
	require.Len(t, works, 70)
	last := works[69] // of the second block; bit 63 of the first is its sign
	require.Equal(t, 65, last.Bundle.N())
	for _, w := range works[48:64] {
		c, there := claim(t, s, false, w.Bundle)
		require.True(t, there)
		require.True(t, c.Wants(w.Segment.N), w.Segment.N)
		require.Equal(t, []bool{true}, settle(t, s, done(w)))
		if c, there = claim(t, s, false, w.Bundle); there {
			require.False(t, c.Wants(w.Segment.N), w.Segment.N)
		}
	}
	require.Equal(t, 4, rows(t, pool, `select count(*) from outstanding`), "three of the first block and one of the second")
	require.Equal(t, 16, rows(t, pool, `select count(*) from segments where state = 'done' and n between 49 and 64`))
}

func TestWhoDiedWithABundleIsCounted(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
	works := release(t, pool, p)
	b := works[0].Bundle
	for i, step := range []struct {
		again, back bool
		died        int
		isolate     bool
	}{
		{false, true, 0, false}, // begun and given back
		{true, false, 0, false},
		{false, false, 0, false}, // WORK was lost and it was published anew: nobody died
		{true, false, 1, false},
		{true, true, 2, true},
		{true, false, 2, true},
	} {
		c, there := claim(t, s, step.again, b)
		require.True(t, there)
		require.Equal(t, []any{step.died, step.isolate, false}, []any{c.Died, c.Isolate(), c.Guilty()}, "step %d", i)
		if step.back {
			require.NoError(t, s.Return(t.Context(), []store.Ref{c.Ref}))
		}
	}
	var dead []store.Outcome
	for _, w := range works {
		o := failed(w)
		o.State = store.Died
		dead = append(dead, o)
	}
	require.Equal(t, []bool{true, true}, settle(t, s, dead...))
	require.Equal(t, 2, rows(t, pool, `select count(*) from retries where attempts = 0 and deaths = 2 and solo`))

	alone := release(t, pool, p)
	require.Len(t, alone, 2)
	require.True(t, alone[0].Solo)
	require.Equal(t, 1, alone[0].Attempt, "a death is not charged")
	for died := range 3 {
		c, there := claim(t, s, died > 0, alone[0].Bundle)
		require.True(t, there)
		require.Equal(t, []any{died, true, died == 2}, []any{c.Died, c.Suspect(), c.Guilty()})
		ask(t, s, alone[0]) // the engine call begins, and never ends
	}
}

func TestGroupsOfManyWorkersAddUp(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	texts := make([]string, 40)
	for i := range texts {
		texts[i] = string(rune('a'+i%26)) + "x"
	}
	a := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", texts...)}})
	b := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", texts...)}})
	wa, wb := release(t, pool, a), release(t, pool, b)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			// Different orders of jobs and keys: the locking rule must exclude deadlocks.
			if _, err := s.Settle(t.Context(), []store.Outcome{done(wb[39-i]), done(wa[i])}); err != nil {
				t.Errorf("Settle: %v", err)
			}
		})
	}
	wg.Wait()
	for _, p := range []plantest.Plan{a, b} {
		c := count(t, pool, p.ID)
		require.Equal(t, []int{40, 40}, []int{c.done, c.chapterDone})
		require.Equal(t, job.StateAssembling, c.state)
	}
	require.Len(t, outbox(t, pool), 2)
}

func TestAFailedSegmentFailsItsChapterUnlessGapsAreAllowed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		allow job.OnFailure
		due   bus.Assembly
		state job.ChapterState
	}{
		"fail":    {job.FailJob, bus.Assembly{Ordinal: 0}, job.ChapterFailed},
		"partial": {job.AllowPartial, bus.Assembly{Ordinal: 1}, job.ChapterAssembling},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pool := open(t)
			p := plantest.Insert(t, pool, plantest.Book{OnFailure: tt.allow, Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
			works := release(t, pool, p)
			require.Equal(t, []bool{true, true}, settle(t, s, done(works[0]), failed(works[1])))
			tt.due.JobID, tt.due.Attempt, tt.due.Class = p.ID, 1, job.Bulk
			require.Equal(t, []bus.Assembly{tt.due}, outbox(t, pool))
			c, err := s.Chapter(t.Context(), p.ID, 1)
			require.NoError(t, err)
			require.Equal(t, tt.state, c.State)
			f, ok, err := s.FirstFailure(t.Context(), p.Num)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, store.Failure{N: 2, Kind: "engine", Detail: "It would not."}, f)
		})
	}
}

func TestADoneContextIsUnavailable(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Begin(ctx, nil)
	require.Equal(t, job.Unavailable, job.KindOf(err))
	_, err = s.Job(t.Context(), "job_unknown")
	require.Equal(t, job.NotFound, job.KindOf(err))
}
