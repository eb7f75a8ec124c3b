package store_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
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

func release(t *testing.T, pool *pg.Pool, p plantest.Plan) []bus.Work {
	t.Helper()
	works, err := plantest.Release(t.Context(), pool, p)
	require.NoError(t, err)
	return works
}

func done(w bus.Work) store.Outcome {
	sum := sha256.Sum256([]byte(w.Text))
	return store.Outcome{
		Ref: store.Ref{JobID: w.JobID, N: w.N}, Attempt: w.Attempt, State: job.SegmentDone, GPUSeconds: 0.5,
		Rendition: &store.Rendition{
			Key: w.RenditionKey, Tenant: w.Tenant, ObjectKey: "renditions/" + w.RenditionKey, SampleRate: 22050, Samples: 44100,
			Bytes: 88244, SHA256: sum[:], Marks: json.RawMessage(`{"sentences":[[0,3,0]],"words":[]}`), Engine: "test 1",
		},
	}
}

func failed(w bus.Work) store.Outcome {
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
	require.Equal(t, res.Versions[p.ID], c.version)
	require.Equal(t, job.StateRunning, c.state)
	require.Equal(t, []int{2, 0, 2}, []int{c.done, c.failed, c.chapterDone})
	require.InDelta(t, 4.0, c.audio, 1e-9)
	require.InDelta(t, 1.0, c.gpu, 1e-9)
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Ordinal: 2}}, outbox(t, pool))

	require.Equal(t, []bool{true}, settle(t, s, done(works[1])))
	require.Equal(t, job.StateAssembling, count(t, pool, p.ID).state)
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Ordinal: 1}}, outbox(t, pool))
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
	_, err := pool.Exec(t.Context(), `update segments set not_before = now() where job_id = $1`, p.ID)
	require.NoError(t, err)
	require.Equal(t, 2, release(t, pool, p)[0].Attempt)
}

func TestCancelledWorkIsNotWantedAndNotCounted(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p := plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
	works := release(t, pool, p)
	claims := []store.Claim{
		{Ref: store.Ref{JobID: p.ID, N: 1}, RenditionKey: works[0].RenditionKey},
		{Ref: store.Ref{JobID: p.ID, N: 2}, RenditionKey: works[0].RenditionKey}, // its text was changed since
		{Ref: store.Ref{JobID: "job_unknown", N: 2}, RenditionKey: works[0].RenditionKey},
	}
	found, err := s.Wanted(t.Context(), claims)
	require.NoError(t, err)
	require.Equal(t, []store.Wanted{{Ref: claims[0].Ref, Attempt: 1}}, found)

	_, err = pool.Exec(t.Context(), `update jobs set state = 'cancelled', finished_at = now() where id = $1`, p.ID)
	require.NoError(t, err)
	found, err = s.Wanted(t.Context(), claims)
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, []bool{false, false}, settle(t, s, done(works[0]), failed(works[1])))
}

func TestAStoredRenditionIsFoundAndTheFirstOneCounts(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	chapters := []plantest.Chapter{plantest.Sentences("One", "The same words.")}
	a := plantest.Insert(t, pool, plantest.Book{Chapters: chapters})
	b := plantest.Insert(t, pool, plantest.Book{Chapters: chapters})
	wa, wb := release(t, pool, a)[0], release(t, pool, b)[0]
	require.Equal(t, wa.RenditionKey, wb.RenditionKey)
	require.Equal(t, []bool{true}, settle(t, s, done(wa)))

	found, err := s.Wanted(t.Context(), []store.Claim{{Ref: store.Ref{JobID: b.ID, N: 1}, RenditionKey: wb.RenditionKey}})
	require.NoError(t, err)
	require.True(t, found[0].Rendered)
	require.Equal(t, int64(44100), found[0].Samples)

	other := done(wb)
	other.Rendition.Samples, other.Rendition.ObjectKey = 99, "renditions/other"
	require.Equal(t, []bool{true}, settle(t, s, other))
	var samples int64
	require.NoError(t, pool.QueryRow(t.Context(), `select audio_samples from segments where job_id = $1`, b.ID).Scan(&samples))
	require.Equal(t, int64(44100), samples, "the segment must say what the stored rendition has")
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
			tt.due.JobID = p.ID
			require.Equal(t, []bus.Assembly{tt.due}, outbox(t, pool))
			c, err := s.Chapter(t.Context(), p.ID, 1)
			require.NoError(t, err)
			require.Equal(t, tt.state, c.State)
			f, ok, err := s.FirstFailure(t.Context(), p.ID)
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
	_, err := s.Wanted(ctx, nil)
	require.Equal(t, job.Unavailable, job.KindOf(err))
	_, err = s.Job(t.Context(), "job_unknown")
	require.Equal(t, job.NotFound, job.KindOf(err))
}
