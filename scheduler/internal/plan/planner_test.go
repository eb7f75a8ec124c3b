package plan_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/reader/readertest"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) {
	if reader.IsChild(os.Args) {
		os.Exit(reader.Serve(os.Stdin, os.Stdout))
	}
	testkit.Main(m)
}

func TestAnInlineTextBecomesSegments(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	const said = "The first sentence. The second one.\n\nAnother paragraph."
	id := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: said}, Seed: 3})
	b.planner.Wake()
	o := b.outcome(t, id)
	require.True(t, o.Queued)
	b.requireSource(t, id, []byte(said))
	var state, language, text, voice, pool, key, brk string
	var segments, chapters, rate int
	var predicted float64
	var characters int64
	b.One(t, `select state, language, segments_total, chapters_total, predicted_seconds, characters from jobs where id = $1`, []any{id},
		&state, &language, &segments, &chapters, &predicted, &characters)
	require.Equal(t, "queued", state)
	require.Equal(t, "en", language)
	require.Equal(t, 1, chapters)
	require.Equal(t, o.Segments, segments)
	require.Positive(t, predicted)
	require.Positive(t, characters)
	b.One(t, `select text, voice, pool, encode(rendition_key, 'hex'), sample_rate, break_after from segments where job_id = $1 order by n desc limit 1`, []any{id},
		&text, &voice, &pool, &key, &rate, &brk)
	require.Equal(t, storetest.Voice, voice)
	require.Equal(t, storetest.Pool, pool)
	require.Equal(t, storetest.SampleRate, rate)
	require.Equal(t, "chapter", brk)
	require.Equal(t, job.Rendition{
		Tenant: storetest.Tenant, Pool: pool, Engine: "espeak-1", Voice: voice, Language: "en", Text: text,
		Speed: 1, Seed: 3, SampleRate: rate,
	}.Key(), key)
}

// The digests are what the completeness proof compares: keys to a chapter,
// chapters to the job.
func TestDigestsProveTheOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	book := epub(t, 5, 12, sentence)
	id := b.upload(t, job.MediaEPUB, book)
	require.True(t, b.outcome(t, id).Queued)
	b.requireSource(t, id, book)
	rows, err := b.DB.Query(t.Context(), `
select c.ordinal, c.plan_digest, c.first_segment, c.segments_total, array_agg(encode(s.rendition_key, 'hex') order by s.n), min(s.n)
from chapters c join segments s on s.job_id = c.job_id and s.chapter = c.ordinal
where c.job_id = $1 group by 1, 2, 3, 4 order by 1`, id)
	require.NoError(t, err)
	defer rows.Close()
	whole, next, n := job.NewOrderDigest(), 1, 0
	for rows.Next() {
		var ordinal, first, total, least int
		var digest []byte
		var keys []string
		require.NoError(t, rows.Scan(&ordinal, &digest, &first, &total, &keys, &least))
		n++
		require.Equal(t, n, ordinal)
		require.Equal(t, next, first)
		require.Equal(t, next, least)
		require.Len(t, keys, total)
		next += total
		d := job.NewOrderDigest()
		for _, k := range keys {
			d.Add(k)
		}
		require.Equal(t, d.Sum(), digest)
		whole.Add(hex.EncodeToString(digest))
	}
	require.NoError(t, rows.Err())
	require.Equal(t, 5, n)
	var digest []byte
	var title string
	b.One(t, `select plan_digest, title from jobs where id = $1`, []any{id}, &digest, &title)
	require.Equal(t, whole.Sum(), digest)
	require.Equal(t, "A Book", title)
}

// requireSource requires that the job says of which bytes it was planned.
func (b *bench) requireSource(t *testing.T, id job.ID, source []byte) {
	t.Helper()
	var sum []byte
	var size int
	b.One(t, `select source_sha256, source_bytes from jobs where id = $1`, []any{id}, &sum, &size)
	want := sha256.Sum256(source)
	require.Equal(t, want[:], sum)
	require.Len(t, source, size)
}

func TestSegmentsOfTheClientStayApart(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.AddVoice(t, store.Voice{Name: "clone", Pool: "gpu", Language: "en", Engine: "cosy-3", SampleRate: 24_000})
	b.run(t)
	long := strings.Repeat("This sentence is said over and over. ", 30)
	id := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Segments: []job.InputSegment{
		{Text: "One."}, {Text: "Two, by another.", Voice: "clone"}, {Text: long},
	}}})
	require.True(t, b.outcome(t, id).Queued)
	require.Equal(t, 1, b.Count(t, `select count(*) from jobs where source_sha256 is null and source_bytes is null`))
	rows, err := b.DB.Query(t.Context(), `select text, voice, pool, break_after, source_document, predicted_seconds from segments where job_id = $1 order by n`, id)
	require.NoError(t, err)
	defer rows.Close()
	var texts []string
	var last string
	for rows.Next() {
		var text, voice, pool, brk, source string
		var seconds float64
		require.NoError(t, rows.Scan(&text, &voice, &pool, &brk, &source, &seconds))
		require.LessOrEqual(t, seconds, job.DefaultLimits().SegmentSeconds+1e-9)
		switch len(texts) {
		case 0:
			require.Equal(t, []string{"One.", storetest.Voice, "sentence", "/input/segments/0"}, []string{text, voice, brk, source})
		case 1:
			require.Equal(t, []string{"Two, by another.", "clone", "gpu", "sentence"}, []string{text, voice, pool, brk})
		default:
			require.Equal(t, "/input/segments/2", source)
		}
		texts, last = append(texts, text), brk
	}
	require.NoError(t, rows.Err())
	require.Equal(t, "chapter", last)
	require.Equal(t, strings.TrimSpace(long), strings.Join(texts[2:], " "))
}

// How a segment is spoken is stored with it if it differs from the job's, goes out with
// it, and makes another rendition of it.
func TestASegmentIsSpokenAsItIsInstructed(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.AddVoice(t, store.Voice{Name: "actor", Pool: "gpu", Language: "en", Engine: "cosy-3", SampleRate: 24_000, Instructions: true})
	b.run(t)
	plan := func(spec job.Spec) (keys []string) {
		id := b.Accept(t, storetest.Tenant, spec)
		o := b.outcome(t, id)
		require.True(t, o.Queued, "%+v", o)
		rows, err := b.DB.Query(t.Context(), `select encode(rendition_key, 'hex') from segments where job_id = $1 order by n`, id)
		require.NoError(t, err)
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return keys
	}
	segments := job.Input{Segments: []job.InputSegment{{Text: "One."}, {Text: "Two.", Instructions: "whisper"}}}
	keys := plan(job.Spec{Voice: "actor", Instructions: "warm", Input: segments})
	key := func(text, instructions string) string {
		return job.Rendition{
			Tenant: storetest.Tenant, Pool: "gpu", Engine: "cosy-3", Voice: "actor", Language: "en", Text: text, Speed: 1, SampleRate: 24_000, Instructions: instructions,
		}.Key()
	}
	require.Equal(t, []string{key("One.", "warm"), key("Two.", "whisper")}, keys)
	require.Equal(t, 1, b.Count(t, `select count(*) from blocks where instructions = '{"",whisper}'`))
	var num int64
	b.One(t, `select num from jobs`, nil, &num)
	blocks, err := b.Store.Blocks(t.Context(), []store.BlockID{{Job: num}})
	require.NoError(t, err)
	require.Equal(t, "whisper", blocks[0].Segments[1].Instructions)
	terms, err := b.Store.Terms(t.Context(), []int64{num})
	require.NoError(t, err)
	require.Equal(t, "warm", terms[num].Instructions)

	require.Equal(t, []string{key("One.", ""), key("Two.", "")}, plan(job.Spec{Voice: "actor", Input: job.Input{Segments: []job.InputSegment{{Text: "One."}, {Text: "Two."}}}}))
	require.Equal(t, 1, b.Count(t, `select count(*) from blocks where instructions is null`))
}

// A phrase in a language whose voice takes no instructions is the main voice's to speak.
func TestAForeignPhraseIsSpokenByWhoTakesInstructions(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.AddVoice(t, store.Voice{Name: "actor", Pool: "gpu", Language: "fr", Engine: "cosy-3", SampleRate: 24_000, Instructions: true})
	b.run(t)
	const page = `<html lang="fr"><body><p>Bonjour.</p><p lang="de">Guten Tag.</p></body></html>`
	id := b.Accept(t, storetest.Tenant, job.Spec{Instructions: "calme", Input: job.Input{Text: page, Media: job.MediaHTML}})
	require.True(t, b.outcome(t, id).Queued)
	require.Equal(t, 2, b.Count(t, `select count(*) from segments where voice = 'actor'`))
	id = b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: page, Media: job.MediaHTML}})
	require.True(t, b.outcome(t, id).Queued)
	require.Equal(t, 1, b.Count(t, `select count(*) from segments where voice = 'narrator-de'`))
}

func TestFaultsFailTheJobWithASentence(t *testing.T) {
	t.Parallel()
	limits := job.DefaultLimits()
	limits.Segments, limits.Chapters = 40, 6
	text := func(text string) job.Spec { return job.Spec{Input: job.Input{Text: text}} }
	for name, c := range map[string]struct {
		spec  job.Spec
		media string
		data  []byte
		kind  job.Kind
		says  string
	}{
		"an unknown voice": {spec: job.Spec{Input: job.Input{Text: "Hello."}, Voice: "nobody"}, kind: job.Invalid, says: `"nobody"`},
		"a segment with an unknown voice": {
			spec: job.Spec{Input: job.Input{Segments: []job.InputSegment{{Text: "Hello.", Voice: "nobody"}}}}, kind: job.Invalid, says: `"nobody"`,
		},
		"instructions for a voice that takes none": {
			spec: job.Spec{Input: job.Input{Text: "Hello."}, Instructions: "warm"}, kind: job.Invalid, says: storetest.Voice + `" takes no instructions`,
		},
		"a language nobody speaks": {spec: job.Spec{Input: job.Input{Text: "Halló."}, Language: "is"}, kind: job.Invalid, says: `"is"`},
		"no words":                 {spec: text("... --- ..."), kind: job.Invalid, says: "."},
		"a document that is no zip": {
			media: job.MediaEPUB, data: []byte("not a zip"), kind: job.Invalid, says: "ZIP",
		},
		"too many segments": {media: job.MediaEPUB, data: epub(t, 5, 40, sentence), kind: job.TooLarge, says: "40 segments"},
		"too many chapters": {media: job.MediaEPUB, data: epub(t, 7, 2, sentence), kind: job.TooLarge, says: "6 chapters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, limits)
			b.run(t)
			c.spec.Callback = &job.Callback{URL: "https://example.org/hook"}
			if c.data != nil {
				c.spec.Input = job.Input{Upload: "upl_1", Media: c.media}
			}
			a := b.Accepted(t, storetest.Tenant, c.spec)
			if c.data != nil {
				a.SourceKey = "uploads/" + string(a.ID)
				b.bucket.put(a.SourceKey, c.data)
			}
			b.Insert(t, a)
			b.planner.Wake()
			o := b.outcome(t, a.ID)
			require.False(t, o.Queued)
			state, kind, detail := b.State(t, a.ID)
			require.Equal(t, job.StateFailed, state)
			require.Equal(t, c.kind.String(), kind, detail)
			require.Contains(t, detail, c.says)
			require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.failed'`, a.ID))
			require.Zero(t, b.Count(t, `select count(*) from chapters where job_id = $1`, a.ID))
			require.Zero(t, b.Count(t, `select count(*) from blocks join jobs on num = job where id = $1`, a.ID))
		})
	}
}

func TestAnUploadThatIsGoneFailsTheJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Upload: "upl_1", Media: job.MediaText}})
	a.SourceKey = "uploads/nothing"
	b.Insert(t, a)
	b.run(t)
	require.False(t, b.outcome(t, a.ID).Queued)
	_, kind, detail := b.State(t, a.ID)
	require.Equal(t, "not_found", kind)
	require.Contains(t, detail, "upload it again")
}

func TestABucketThatIsAwayNeverFailsAJob(t *testing.T) {
	t.Parallel()
	away := &job.Error{Op: "bucket", Kind: job.Unavailable, Err: errors.New("connection refused")}
	for name, script := range map[string]func(*bucket, error){
		"at the first call":       func(b *bucket, err error) { b.down = err },
		"in the middle of a book": func(b *bucket, err error) { b.broken = err },
		"without saying how": func(b *bucket, err error) {
			if b.broken = nil; err != nil {
				b.broken = errors.New("connection reset")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, job.DefaultLimits())
			b.bucket.set(func(k *bucket) { script(k, away) })
			id := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
			b.run(t)
			// Other jobs go on meanwhile, and this one is tried more often than a fault of ours would be.
			other := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}})
			b.planner.Wake()
			require.True(t, b.outcome(t, other).Queued)
			require.Never(t, func() bool {
				state, _, _ := b.State(t, id)
				return state != job.StatePlanning && state != job.StateAccepted
			},
				500*time.Millisecond, 50*time.Millisecond)
			b.bucket.set(func(k *bucket) { script(k, nil) })
			require.True(t, b.outcome(t, id).Queued)
			require.Equal(t, 1, b.Count(t, `select plan_attempts from jobs where id = $1`, id), "attempts were counted against the job")
		})
	}
}

func TestNoWorkerYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.Exec(t, `delete from voices`)
	b.run(t)
	id := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}})
	b.planner.Wake()
	require.Never(t, func() bool { state, _, _ := b.State(t, id); return state == job.StateFailed }, 300*time.Millisecond, 50*time.Millisecond)
	b.AddVoice(t, store.Voice{Name: storetest.Voice, Pool: storetest.Pool, Language: "en", Engine: "e", SampleRate: 22_050, Default: true})
	require.True(t, b.outcome(t, id).Queued)
}

func TestADocumentThatPanicsIsGivenUpAfterThreeTries(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.bucket.onRead = func() { panic("a page of poison") }
	b.run(t)
	id := b.upload(t, job.MediaEPUB, epub(t, 1, 1, sentence))
	require.False(t, b.outcome(t, id).Queued)
	state, kind, detail := b.State(t, id)
	require.Equal(t, job.StateFailed, state)
	require.Equal(t, "internal", kind)
	require.Contains(t, detail, "fault on our side")
	require.NotContains(t, detail, "poison")
	require.Equal(t, 3, b.Count(t, `select plan_attempts from jobs where id = $1`, id))
	// The planner lives.
	other := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}})
	require.True(t, b.outcome(t, other).Queued)
}

func TestOneBadJobDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	var good []job.ID
	for i := range 10 {
		good = append(good, b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: fmt.Sprintf("Number %d.", i)}}))
	}
	bad := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}, Voice: "nobody"})
	// A title that Postgres refuses only when the batch is committed.
	b.Exec(t, `alter table chapters add check (segments_total <> 2)`)
	worse := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Segments: []job.InputSegment{{Text: "One."}, {Text: "Two."}}}})
	b.run(t)
	for range 12 {
		<-b.outcomes
	}
	for _, id := range good {
		state, _, _ := b.State(t, id)
		require.Equal(t, job.StateQueued, state)
	}
	for id, kind := range map[job.ID]string{bad: "invalid", worse: "internal"} {
		state, got, _ := b.State(t, id)
		require.Equal(t, job.StateFailed, state)
		require.Equal(t, kind, got)
	}
}

func TestWhatWasSpokenBeforeIsReused(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	book := epub(t, 2, 10, sentence)
	first := b.upload(t, job.MediaEPUB, book)
	require.Zero(t, b.outcome(t, first).Reused)
	// Half of it is rendered; the audio is two seconds a segment.
	b.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256)
select distinct rendition_key, (select num from tenants where id = 'default'), 22050, 44100, 88244, sha256('x') from segments where chapter = 1 on conflict do nothing`)
	second := b.upload(t, job.MediaEPUB, book)
	o := b.outcome(t, second)
	require.Positive(t, o.Reused)
	require.Less(t, o.Reused, o.Segments)
	var reused, done, failed int
	var doneSeconds, reusedSeconds, audio float64
	b.One(t, `select segments_reused, segments_done, segments_failed, done_seconds, reused_seconds, audio_seconds from jobs where id = $1`, []any{second},
		&reused, &done, &failed, &doneSeconds, &reusedSeconds, &audio)
	require.Equal(t, []int{o.Reused, 0, 0}, []int{reused, done, failed})
	require.InDelta(t, 2*float64(o.Reused), reusedSeconds, 1e-6)
	require.InDelta(t, reusedSeconds, audio, 1e-6)
	require.Positive(t, doneSeconds)
	require.Equal(t, 1, b.Count(t, `select count(*) from outbox where job_id = $1 and ordinal = 1 and kind = 'assemble'`, second))

	b.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256)
select distinct rendition_key, (select num from tenants where id = 'default'), 22050, 44100, 88244, sha256('x') from segments on conflict do nothing`)
	third := b.upload(t, job.MediaEPUB, book)
	o = b.outcome(t, third)
	require.Equal(t, o.Segments, o.Reused)
	state, _, _ := b.State(t, third)
	require.Equal(t, job.StateAssembling, state, "a job that is all reused goes straight on")
}

// Who wants all of a book heard gets what was never heard from a worker, which hears it.
func TestWhatWasNeverHeardIsNotReusedByWhoWantsItHeard(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	spec := job.Spec{Input: job.Input{Segments: []job.InputSegment{{Text: "One."}, {Text: "Two."}, {Text: "Three."}}}}
	require.True(t, b.outcome(t, b.Accept(t, storetest.Tenant, spec)).Queued)
	b.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256, hearing)
select rendition_key, (select num from tenants where id = 'default'), 22050, 44100, 88244, sha256('x'), case when n = 2 then '{"words": 1}'::jsonb end from segments`)
	for verify, reused := range map[job.Verify]int{job.VerifyNone: 3, job.VerifySample: 3, job.VerifyAll: 1} {
		spec.Verify = verify
		require.Equal(t, reused, b.outcome(t, b.Accept(t, storetest.Tenant, spec)).Reused, verify)
	}
}

// A planner that died leaves its job in planning; the next one plans it whole.
func TestAnInterruptedPlanIsPlannedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	id := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	claims, err := b.Store.Claim(t.Context(), store.Ask{Input: store.Documents, Class: job.Bulk, Limit: 1})
	require.NoError(t, err)
	require.Len(t, claims, 1)
	b.run(t)
	require.True(t, b.outcome(t, id).Queued)
	require.Equal(t, 2, b.Count(t, `select plan_attempts from jobs where id = $1`, id))
}

// A former leader may claim jobs after the new one looked for what it left.
func TestAPlanThatIsInterruptedLaterIsPlannedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	require.True(t, b.outcome(t, b.upload(t, job.MediaEPUB, epub(t, 1, 1, sentence))).Queued)
	require.True(t, b.outcome(t, b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}})).Queued)

	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Upload: "upl_1", Media: job.MediaEPUB}})
	a.SourceKey = "uploads/default/" + string(a.ID)
	b.bucket.put(a.SourceKey, epub(t, 1, 1, sentence))
	b.interrupted(t, &a, 1)
	require.True(t, b.outcome(t, a.ID).Queued)
	a = b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello again."}})
	b.interrupted(t, &a, 1)
	require.True(t, b.outcome(t, a.ID).Queued)
	a = b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Poison."}})
	b.interrupted(t, &a, 10)
	require.False(t, b.outcome(t, a.ID).Queued)
}

// A connection that dies under a claim may leave its jobs claimed by nobody.
func TestAfterAClaimThatFailedItsJobsAreLookedForAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.planner = b.newPlanner(t, job.DefaultLimits(), time.Hour)
	first := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello."}})
	b.run(t)
	require.True(t, b.outcome(t, first).Queued)

	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Hello again."}})
	b.interrupted(t, &a, 1)
	tx, err := b.DB.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), `lock table jobs`)
	require.NoError(t, err)
	b.planner.Wake()
	testkit.Blocked(t, b.DB, 2)
	b.planner.Wake() // for the rounds after those that fail
	b.Exec(t, `select pg_terminate_backend(pid) from pg_locks join pg_stat_activity using (pid)
where not granted and datname = current_database()`)
	require.NoError(t, tx.Commit(t.Context()))
	require.True(t, b.outcome(t, a.ID).Queued)
}

func TestADocumentThatKillsThePlannerIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	id := b.upload(t, job.MediaEPUB, epub(t, 1, 1, sentence))
	b.Exec(t, `update jobs set state = 'planning', plan_attempts = 10 where id = $1`, id)
	b.run(t)
	require.False(t, b.outcome(t, id).Queued)
	_, kind, _ := b.State(t, id)
	require.Equal(t, "internal", kind)
}

func TestACancelWhilePlanningWins(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	reading, cancelled := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.bucket.onRead = func() {
		once.Do(func() { close(reading); <-cancelled })
	}
	b.run(t)
	id := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	<-reading
	b.Cancel(t, id) // must not wait for the plan
	close(cancelled)
	other := b.upload(t, job.MediaEPUB, epub(t, 1, 1, sentence))
	require.True(t, b.outcome(t, other).Queued)
	state, _, _ := b.State(t, id)
	require.Equal(t, job.StateCancelled, state)
	require.Zero(t, b.Count(t, `select count(*) from blocks join jobs on num = job where id = $1`, id))
}

// A bucket that stands still must not hold up vacuum for the whole database.
func TestReadingADocumentHoldsNoTransactionOpen(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	reading, finish := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(finish) })
	var once sync.Once
	b.bucket.onRead = func() {
		once.Do(func() { close(reading); <-finish })
	}
	b.run(t)
	t.Cleanup(goOn) // before the planner is stopped, which waits for it
	id := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	<-reading
	require.Eventually(t, func() bool { // the lanes ask now and then; a transaction that waits for the bucket stays
		return b.Count(t, `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and (backend_xmin is not null or state like 'idle in transaction%')`) == 0
	}, 10*time.Second, time.Millisecond)
	goOn()
	require.True(t, b.outcome(t, id).Queued)
}

// What a planner that died has stored does not show, and the next one replaces it.
func TestAPlanShowsAtOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	id := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	claims, err := b.Store.Claim(t.Context(), store.Ask{Input: store.Documents, Class: job.Bulk, Limit: 1})
	require.NoError(t, err)
	plan := store.Plan{ID: id, Num: claims[0].Num, Attempt: claims[0].Attempt, Tenant: storetest.Tenant}
	died := errors.New("the planner died")
	plan.Chapters = func(yield func(*store.Chapter, error) bool) {
		_ = yield(chapterOf(1, 5000), nil) && yield(nil, died)
	}
	_, err = b.Store.CommitPlans(t.Context(), []store.Plan{plan})
	require.ErrorIs(t, err, died)
	require.Positive(t, b.Count(t, `select count(*) from blocks`), "a long document is stored while it is read")
	require.Zero(t, b.Count(t, `select count(*) from segments`))
	require.Zero(t, b.Count(t, `select count(*) from chapters`))

	b.run(t)
	o := b.outcome(t, id)
	require.True(t, o.Queued)
	require.Equal(t, o.Segments, b.Count(t, `select sum(cardinality(texts)) from blocks`))
	require.Equal(t, o.Segments, b.Count(t, `select count(*) from segments where state = 'pending'`))

	plan.Chapters = func(yield func(*store.Chapter, error) bool) { yield(chapterOf(1, 5000), nil) }
	late, err := b.Store.CommitPlans(t.Context(), []store.Plan{plan})
	require.NoError(t, err)
	require.Empty(t, late, "the claim was made again since")
	require.Equal(t, o.Segments, b.Count(t, `select sum(cardinality(texts)) from blocks`))
}

func chapterOf(ordinal, segments int) *store.Chapter {
	ch := &store.Chapter{Ordinal: ordinal, Matter: "body", FirstSegment: 1}
	for n := range segments {
		text := fmt.Sprintf("Sentence %d.", n)
		ch.Segments = append(ch.Segments, store.PlannedSegment{
			N: n + 1, Chapter: ordinal, Text: text, Voice: storetest.Voice, Language: "en", Pool: storetest.Pool, Break: "sentence",
			Seconds: 1 + float64(n%7), SampleRate: storetest.SampleRate, Characters: len(text), RenditionKey: job.Rendition{Text: text}.Key(),
		})
	}
	return ch
}

// Bundles are of like length where nobody listens, and in reading order where somebody does.
func TestTheOrderOfReleaseIsByLengthUnlessSomebodyListens(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	lengths := []float64{3, 9, 5, 9, 1}
	for class, want := range map[job.Class][]byte{job.Bulk: {3, 0, 2, 1, 4}, job.Interactive: {0, 1, 2, 3, 4}} {
		id := b.Queue(t, storetest.Tenant, job.Spec{Class: class}, lengths...)
		var turns []byte
		b.One(t, `select turns from blocks join jobs on num = job where id = $1`, []any{id}, &turns)
		require.Equal(t, want, turns, class)
	}
}

func TestInteractiveJobsAndOtherTenantsGoFirst(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.AddTenant(t, "other")
	for i := range 40 {
		b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: fmt.Sprintf("Bulk %d.", i)}})
	}
	other := b.Accept(t, "other", job.Spec{Input: job.Input{Text: "From another tenant."}})
	now := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Now."}, Class: job.Interactive})
	ask := store.Ask{Input: store.Inline, Class: job.Interactive, Limit: 3}
	claims, err := b.Store.Claim(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	require.Equal(t, now, claims[0].ID)
	ask.Class = job.Bulk
	claims, err = b.Store.Claim(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, claims, 3)
	require.True(t, slices.ContainsFunc(claims, func(c store.Claim) bool { return c.ID == other }))
	ask.After = "other"
	claims, err = b.Store.Claim(t.Context(), ask)
	require.NoError(t, err)
	require.Len(t, claims, 3, "behind the last tenant comes the first")
	ask.After, ask.Without = "", []job.Tenant{storetest.Tenant}
	claims, err = b.Store.Claim(t.Context(), ask)
	require.NoError(t, err)
	require.Empty(t, claims, "who has enough gets no more")
}

// A book that is being read does not keep a one-line request waiting.
func TestABigBookDoesNotStarveAOneLiner(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	reading, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.bucket.onRead = func() {
		once.Do(func() { close(reading); <-finish })
	}
	b.run(t)
	book := b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	<-reading
	line := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Now."}, Class: job.Interactive})
	b.planner.Wake()
	require.True(t, b.outcome(t, line).Queued)
	close(finish)
	require.True(t, b.outcome(t, book).Queued)
}

func TestStopTwiceAndStartAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	stop := b.run(t)
	stop()
	stop()
	id := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Later."}})
	b.run(t)
	require.True(t, b.outcome(t, id).Queued)
}

// One tenant's documents, whatever they cost, leave places for those of others.
func TestDocumentsOfOneTenantDoNotKeepThoseOfOthersWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.AddTenant(t, "other")
	hang := make(chan struct{})
	b.bucket.onReadOf = func(key string) {
		if strings.HasPrefix(key, "uploads/"+string(storetest.Tenant)) {
			<-hang
		}
	}
	for i := range 12 {
		class := job.Bulk
		if i >= 6 {
			class = job.Interactive
		}
		b.uploadOf(t, storetest.Tenant, class, job.MediaEPUB, epub(t, 1, 1, sentence))
	}
	b.run(t)
	goOn := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(goOn)
	planning := func() int {
		return b.Count(t, `select count(*) from jobs where state = 'planning' and tenant_id = $1`, storetest.Tenant)
	}
	require.Eventually(t, func() bool { return planning() == 2 }, time.Minute, time.Millisecond)
	for _, class := range []job.Class{job.Bulk, job.Interactive} {
		require.True(t, b.outcome(t, b.uploadOf(t, "other", class, job.MediaEPUB, epub(t, 2, 3, sentence))).Queued)
	}
	require.Equal(t, 2, planning(), "half of the places")
	goOn()
	b.queued(t, 12+2)
}

// Planning has no horizon: what waits behind tens of thousands of jobs of
// others is found at once.
func TestALineIsPlannedHoweverMuchOfOthersWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	crowd := make([]string, 21)
	for i := range crowd {
		crowd[i] = fmt.Sprintf("crowd-%02d", i)
		b.AddTenant(t, job.Tenant(crowd[i]))
	}
	b.Exec(t, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, source_key)
select 'job_' || tenant || i, tenant, 'bulk', 'accepted', '{"input": {"upload": "upl_1"}}', 'fail', now() - interval '1 h', 'uploads/none'
from unnest($1::text[]) tenant cross join generate_series(1, 1000) i`, crowd)
	b.Exec(t, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at)
select 'job_text' || i, $1, 'bulk', 'accepted', '{"input": {"text": "A text."}}', 'fail', now() - interval '1 h' from generate_series(1, 25000) i`, crowd[0])
	line := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "From another tenant."}})
	claims, err := b.Store.Claim(t.Context(), store.Ask{Input: store.Inline, Class: job.Bulk, Limit: 2})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(claims, func(c store.Claim) bool { return c.ID == line }))
	document := b.upload(t, job.MediaEPUB, epub(t, 1, 1, sentence))
	ask := store.Ask{Input: store.Documents, Class: job.Bulk, Limit: 1}
	var order []job.Tenant
	for range 22 {
		claims, err := b.Store.Claim(t.Context(), ask)
		require.NoError(t, err)
		require.Len(t, claims, 1)
		ask.After = claims[0].Tenant
		order = append(order, ask.After)
	}
	require.Equal(t, storetest.Tenant, order[21], "one of each in turn")
	state, _, _ := b.State(t, document)
	require.Equal(t, job.StatePlanning, state)
}

// Children that are killed from outside cost no document its plan.
func TestReadersThatAreKilledLoseNothing(t *testing.T) { // not beside others: it kills what it finds
	b := newBench(t, job.DefaultLimits())
	var mu sync.Mutex
	kills, open := 0, map[int]bool{}
	b.bucket.onRead = func() { // while a child waits for bytes
		mu.Lock()
		defer mu.Unlock()
		for _, pid := range readertest.Children(t) {
			if kills < 20 && !open[pid] {
				kills, open[pid] = kills+1, true
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}
	}
	b.run(t)
	for range 12 {
		b.upload(t, job.MediaEPUB, epub(t, 3, 10, sentence))
	}
	b.queued(t, 12)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 20, kills)
	require.Equal(t, 12*33, b.Count(t, `select sum(segments_total)::int from jobs`))
}
