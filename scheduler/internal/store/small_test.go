package store_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// claimed returns the plan of an interactive job of two segments that was just claimed.
func claimed(t *testing.T, b *storetest.Base, spec job.Spec) store.Plan {
	t.Helper()
	spec.Class, spec.Input = job.Interactive, job.Input{Text: "One. Two."}
	id := b.Accept(t, storetest.Tenant, spec)
	claims, err := b.Store.Claim(t.Context(), store.Ask{Class: job.Interactive, Limit: 1})
	require.NoError(t, err)
	require.Len(t, claims, 1)
	c := claims[0]
	require.Equal(t, id, c.ID)
	ch := store.Chapter{Ordinal: 1, Matter: "body", FirstSegment: 1}
	digest := job.NewOrderDigest()
	for i, text := range []string{"One.", "Two."} {
		g := store.PlannedSegment{
			N: i + 1, Chapter: 1, Text: text, Voice: storetest.Voice, Language: "en", Pool: storetest.Pool, Break: "sentence", Seconds: 0.1 + float64(i),
			SampleRate: storetest.SampleRate, Characters: 4, RenditionKey: job.Rendition{Tenant: storetest.Tenant, Text: string(id) + text}.Key(),
		}
		if i == 1 {
			g.Pronunciations, g.Instructions = []byte(`[{"start": 0, "end": 3, "alias": "deux"}]`), "Softly."
		}
		digest.Add(g.RenditionKey)
		ch.Segments = append(ch.Segments, g)
	}
	ch.Digest = digest.Sum()
	return store.Plan{
		ID: id, Num: c.Num, Attempt: c.Attempt, Tenant: c.Tenant, Class: c.Class, Language: "en", Callback: spec.Callback, Claim: &c,
		Chapters: func(yield func(*store.Chapter, error) bool) { yield(&ch, nil) },
	}
}

// What a plan hands on is what whoever releases it would read.
func TestWhatAPlanHandsOnIsWhatIsStored(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	p := claimed(t, b, job.Spec{
		Priority: 3, Seed: 7, Speed: 1.5, Instructions: "Loudly.", Verify: job.VerifyAll, OnDoubt: job.DeliverDoubtful,
		Callback: &job.Callback{URL: "https://example.org/hook"},
	})
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{p})
	require.NoError(t, err)
	require.Len(t, done, 1)
	f := done[0].Fresh
	require.NotNil(t, f)
	queues, err := b.Store.QueuesOf(t.Context(), []job.ID{p.ID})
	require.NoError(t, err)
	require.Len(t, f.Queues, 1)
	require.True(t, queues[0].AcceptedAt.Equal(f.Queues[0].AcceptedAt))
	f.Queues[0].AcceptedAt = queues[0].AcceptedAt
	require.Equal(t, queues, f.Queues)
	terms, err := b.Store.Terms(t.Context(), []int64{p.Num})
	require.NoError(t, err)
	require.Equal(t, terms[p.Num], f.Terms)
	blocks, err := b.Store.Blocks(t.Context(), []store.BlockID{{Job: p.Num}})
	require.NoError(t, err)
	require.Len(t, blocks, 1)
	require.JSONEq(t, string(blocks[0].Segments[1].Pronunciations), string(f.Block.Segments[1].Pronunciations))
	blocks[0].Segments[1].Pronunciations = f.Block.Segments[1].Pronunciations
	blocks[0].Bytes = f.Block.Bytes
	require.Equal(t, blocks[0], f.Block)
}

// A job that a command changed while it was planned is to be read.
func TestAJobThatWasChangedMeanwhileIsNotHandedOn(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	p := claimed(t, b, job.Spec{})
	b.Exec(t, `select set_job($1, null, 5, null, null)`, p.ID)
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{p})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Nil(t, done[0].Fresh)
}

// One of several that left planning meanwhile does not keep the others.
func TestPlansThatAreStoredTogetherLoseOnlyWhatWasCancelled(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	gone, stays := claimed(t, b, job.Spec{}), claimed(t, b, job.Spec{})
	b.Cancel(t, gone.ID)
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{gone, stays})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, stays.ID, done[0].ID)
	require.Equal(t, 1, b.Count(t, `select count(*) from blocks`))
	require.Equal(t, 1, b.Count(t, `select count(*) from chapters`))
	require.Equal(t, 1, b.Count(t, `select count(*) from queues`))
}

// What another attempt has left of a plan goes when the plan is stored.
func TestASmallPlanTakesThePlaceOfAFormerOne(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	p := claimed(t, b, job.Spec{})
	b.Queue(t, storetest.Tenant, job.Spec{}, 1, 2)
	b.Exec(t, `insert into blocks select $1, n, chapters, texts, voices, languages, pools, pronunciations, documents, starts, ends, breaks, seconds, rates, keys, turns, reused
from blocks cross join generate_series(0, 1) n where job <> $1`, p.Num)
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{p})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, 1, b.Count(t, `select count(*) from blocks where job = $1`, p.Num))
}

// Whose renditions are all there is due for joining at once.
func TestASmallPlanThatIsAllReusedIsAssembled(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	p := claimed(t, b, job.Spec{Callback: &job.Callback{URL: "https://example.org/hook", Events: []string{job.EventStarted}}})
	for ch, err := range p.Chapters {
		require.NoError(t, err)
		for _, g := range ch.Segments {
			b.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256) select decode($1, 'hex'), num, 1, 2, 1, sha256('') from tenants`, g.RenditionKey)
		}
	}
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{p})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, 2, done[0].Reused)
	require.Equal(t, 1, b.Count(t, `select count(*) from jobs where id = $1 and state = 'assembling' and version = $2`, p.ID, done[0].Version.Version))
	require.Equal(t, 1, b.Count(t, `select count(*) from outbox where job_id = $1 and kind = 'assemble'`, p.ID))
	require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.started'`, p.ID))
	require.Zero(t, b.Count(t, `select count(*) from queues`))
}

// Nobody has to try to claim to learn that there is nothing.
func TestWaitingTellsWhatIsToBePlanned(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	told := func() (list []bool) {
		for _, input := range []store.Input{store.Inline, store.Documents} {
			interactive, bulk, err := b.Store.Waiting(t.Context(), input)
			require.NoError(t, err)
			list = append(list, interactive, bulk)
		}
		return list
	}
	require.False(t, slices.Contains(told(), true))
	b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Bulk."}})
	require.Equal(t, []bool{false, true, false, false}, told())
	b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Upload: "upl_1", Media: job.MediaEPUB}, Class: job.Interactive})
	require.Equal(t, []bool{false, true, true, false}, told())
}
