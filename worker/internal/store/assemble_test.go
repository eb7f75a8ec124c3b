package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// rendered plans a book of one chapter with two segments, both done.
func rendered(t *testing.T, s *store.Store, pool *pg.Pool, events ...string) (plantest.Plan, store.Chapter) {
	t.Helper()
	b := plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}}
	if events != nil {
		b.Callback = &job.Callback{URL: "https://example.com/hook", Events: events}
	}
	p := plantest.Insert(t, pool, b)
	works := release(t, pool, p)
	require.Equal(t, []bool{true, true}, settle(t, s, done(works[0]), done(works[1])))
	require.Len(t, outbox(t, pool), 1)
	c, err := s.Chapter(t.Context(), p.ID, 1)
	require.NoError(t, err)
	require.Equal(t, job.ChapterAssembling, c.State)
	return p, c
}

func joined(c store.Chapter) store.Joined {
	seconds := 4.0
	return store.Joined{
		Proof: c.PlanDigest, SampleRate: 22050, Samples: 88200,
		File: store.Artifact{Name: "chapter-001.wav", MediaType: "audio/wav", ObjectKey: "jobs/x/chapter-001.wav", Bytes: 5, SHA256: make([]byte, 32), AudioSeconds: &seconds},
	}
}

func rows(t *testing.T, pool *pg.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func TestAChapterBecomesReadyOnce(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool, job.EventChapterReady)
	var ready atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ok, err := s.ReadyChapter(t.Context(), c, joined(c))
			if err != nil {
				t.Errorf("ReadyChapter: %v", err)
			}
			if ok {
				ready.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(1), ready.Load())
	require.Equal(t, 1, count(t, pool, p.ID).ready)
	require.Equal(t, 1, rows(t, pool, `select count(*) from artifacts where job_id = $1`, p.ID))
	require.Equal(t, 1, rows(t, pool, `select count(*) from deliveries where job_id = $1 and event = 'chapter.ready' and ordinal = 1`, p.ID))
	require.Equal(t, 0, rows(t, pool, `select count(*) from outbox where kind = 'assemble'`))
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Attempt: 1, Class: job.Bulk}}, outbox(t, pool), "the job is due")
}

func TestAChapterWithoutAProofIsNotReady(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool)
	j := joined(c)
	j.Proof = make([]byte, 32)
	ok, err := s.ReadyChapter(t.Context(), c, j)
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, 0, count(t, pool, p.ID).ready)
	require.Equal(t, 0, rows(t, pool, `select count(*) from artifacts`))
}

func TestABrokenRenditionIsWorkAgain(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool)
	gs, err := s.Segments(t.Context(), c, 1, 2)
	require.NoError(t, err)
	ok, err := s.ReopenChapter(t.Context(), c, []store.Broken{{RenditionKey: gs[1].RenditionKey, Damaged: true, Detail: "It was gone."}})
	require.NoError(t, err)
	require.True(t, ok)
	n := count(t, pool, p.ID)
	require.Equal(t, job.StateRunning, n.state)
	require.Equal(t, []int{1, 1}, []int{n.done, n.chapterDone})
	require.InDelta(t, 2.0, n.audio, 1e-9)
	require.Equal(t, 0, rows(t, pool, `select count(*) from renditions where encode(key, 'hex') = $1`, gs[1].RenditionKey))
	require.Equal(t, 0, rows(t, pool, `select count(*) from outbox`))

	late, err := s.ReadyChapter(t.Context(), c, joined(c))
	require.NoError(t, err)
	require.False(t, late, "who joined before the break was found comes too late")

	works := release(t, pool, p)
	require.Len(t, works, 1)
	require.Equal(t, 2, works[0].Attempt)
	require.Equal(t, []bool{true}, settle(t, s, done(works[0])))
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Ordinal: 1, Attempt: 1, Class: job.Bulk}}, outbox(t, pool))
	c, err = s.Chapter(t.Context(), p.ID, 1)
	require.NoError(t, err)
	require.Equal(t, 1, c.Attempts)
	ok, err = s.ReadyChapter(t.Context(), c, joined(c))
	require.NoError(t, err)
	require.True(t, ok)
}

func TestAChapterGivenUpEndsTheJob(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool)
	ok, err := s.FailChapter(t.Context(), c, job.Internal, "It cannot be joined.")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 1, count(t, pool, p.ID).lost)
	require.Equal(t, []bus.Assembly{{JobID: p.ID, Attempt: 1, Class: job.Bulk}}, outbox(t, pool))
}

func TestAStaleAssemblyDropsOnlyWhatIsNotDue(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool)
	require.NoError(t, s.DropStale(t.Context(), p.ID, 1))
	require.Equal(t, 1, rows(t, pool, `select count(*) from outbox`), "the chapter is due")
	require.NoError(t, s.DropStale(t.Context(), p.ID, 0))
	require.Equal(t, 1, rows(t, pool, `select count(*) from outbox`), "the chapter is due")
	_, err := pool.Exec(t.Context(), `update jobs set state = 'cancelled', finished_at = now() where id = $1`, p.ID)
	require.NoError(t, err)
	ok, err := s.ReadyChapter(t.Context(), c, joined(c))
	require.NoError(t, err)
	require.False(t, ok, "a cancelled job gets no chapter")
	require.NoError(t, s.DropStale(t.Context(), p.ID, 1))
	require.Equal(t, 0, rows(t, pool, `select count(*) from outbox`))
}

func TestAJobEndsOnceWithItsEvent(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool, job.EventSucceeded)
	_, err := s.ReadyChapter(t.Context(), c, joined(c))
	require.NoError(t, err)
	j, err := s.Job(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, job.StateAssembling, j.State)
	require.Equal(t, job.DefaultPauses(), j.Pauses)
	manifest := store.Artifact{Name: "manifest.json", MediaType: "application/json", ObjectKey: "jobs/x/manifest.json", Bytes: 1, SHA256: make([]byte, 32)}

	wrong := store.End{State: job.StateSucceeded, Proof: make([]byte, 32), Files: []store.Artifact{manifest}}
	ok, err := s.FinishJob(t.Context(), j, wrong)
	require.NoError(t, err)
	require.False(t, ok, "no success without its proof")

	end := store.End{State: job.StateSucceeded, Proof: j.PlanDigest, Files: []store.Artifact{manifest}}
	for i := range 3 {
		ok, err := s.FinishJob(t.Context(), j, end)
		require.NoError(t, err)
		require.Equal(t, i == 0, ok)
	}
	require.Equal(t, job.StateSucceeded, count(t, pool, p.ID).state)
	require.Equal(t, 1, rows(t, pool, `select count(*) from deliveries where event = 'job.succeeded' and state = 'pending' and url = 'https://example.com/hook'`))
	require.Equal(t, 0, rows(t, pool, `select count(*) from outbox`))
	require.Equal(t, 2, rows(t, pool, `select count(*) from artifacts`))
}

func TestTheEndOfAJobIsWhenItWasStoredNotWhenThatBegan(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	p, c := rendered(t, s, pool, job.EventSucceeded)
	_, err := s.ReadyChapter(t.Context(), c, joined(c))
	require.NoError(t, err)
	j, err := s.Job(t.Context(), p.ID)
	require.NoError(t, err)
	other, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = other.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = other.Exec(t.Context(), `select from jobs where id = $1 for update`, p.ID)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := s.FinishJob(t.Context(), j, store.End{State: job.StateSucceeded, Proof: j.PlanDigest})
		done <- err
	}()
	testkit.Blocked(t, pool, 1)
	var waited, finished, told time.Time
	require.NoError(t, pool.QueryRow(t.Context(), `select clock_timestamp()`).Scan(&waited))
	require.NoError(t, other.Commit(t.Context()))
	require.NoError(t, <-done)
	require.NoError(t, pool.QueryRow(t.Context(), `select j.finished_at, d.created_at from jobs j join deliveries d on d.job_id = j.id`).Scan(&finished, &told))
	require.True(t, finished.After(waited), "it ended %s before", waited.Sub(finished))
	require.True(t, told.After(waited), "its callback was due %s before", waited.Sub(told))
}

func TestVoicesAreKnownAfterwards(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	voices := []store.Voice{
		{Name: "narrator-en", Pool: "espeak", Language: "en", Engine: "espeak-ng 1.51", SampleRate: 22050, Default: true},
		{Name: "narrator-de", Pool: "espeak", Language: "de", Engine: "espeak-ng 1.51", SampleRate: 22050, Default: true},
	}
	for range 2 {
		require.NoError(t, s.PutVoices(t.Context(), voices))
	}
	other := []store.Voice{{Name: "aria", Pool: "gpu", Language: "en", Engine: "m 2", SampleRate: 24000, Default: true}}
	require.NoError(t, s.PutVoices(t.Context(), other))
	require.Equal(t, 3, rows(t, pool, `select count(*) from voices`))
	require.Equal(t, 1, rows(t, pool, `select count(*) from voices where language = 'en' and is_default and name = 'narrator-en'`))
	require.Equal(t, 2, rows(t, pool, `select count(*) from voices where is_default`))

	// The same worker has another voice first since: a neural one was installed.
	voices[0].Default = false
	voices = append([]store.Voice{{Name: "joe", Pool: "joe", Language: "en", Engine: "joe 1", SampleRate: 22050, Default: true, Licence: "CC0", Attribution: "Piper"}}, voices...)
	require.NoError(t, s.PutVoices(t.Context(), voices))
	require.Equal(t, 1, rows(t, pool, `select count(*) from voices where language = 'en' and is_default and name = 'joe' and licence = 'CC0' and attribution = 'Piper'`))
	require.Equal(t, 1, rows(t, pool, `select count(*) from voices where language = 'en' and is_default`))
}

// Two fleets with one voice would otherwise send its work to and fro.
func TestAVoiceStaysWithAPoolThatHasAWorker(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	mine := []store.Voice{{Name: "aria", Pool: "gpu", Language: "en", Engine: "m 2", SampleRate: 24000, Default: true}}
	theirs := []store.Voice{
		{Name: "other", Pool: "cpu", Language: "de", Engine: "m 3", SampleRate: 24000, Default: true},
		{Name: "aria", Pool: "cpu", Language: "en", Engine: "m 3", SampleRate: 24000, Default: true},
	}
	require.NoError(t, s.PutVoices(t.Context(), mine))
	require.NoError(t, s.PutPools(t.Context(), "worker_1", []store.PoolState{{Pool: "gpu"}}))
	require.NoError(t, s.PutVoices(t.Context(), mine), "another worker of the same pool")
	err := s.PutVoices(t.Context(), theirs)
	require.Equal(t, job.Conflict, job.KindOf(err), "%v", err)
	require.False(t, job.Retryable(err))
	require.ErrorContains(t, err, `the voice "aria" of pool "cpu" is pool "gpu"'s`)
	require.Equal(t, 1, rows(t, pool, `select count(*) from voices`), "part of them was made known")

	_, err = pool.Exec(t.Context(), `update pool_workers set seen_at = now() - interval '31 seconds'`)
	require.NoError(t, err)
	require.NoError(t, s.PutVoices(t.Context(), theirs))
	require.Equal(t, 1, rows(t, pool, `select count(*) from voices where name = 'aria' and pool = 'cpu'`))
}
