package store_test

import (
	"cmp"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

const spokenJob = job.ID("job_spoken")

// insertSpoken writes a job of two segments, one spoken and one not released.
func insertSpoken(t *testing.T, db *pg.Pool) {
	t.Helper()
	insertJob(t, db, spokenJob, job.StateAccepted, `{"seed": 7, "speed": 1.25}`, time.Now())
	exec(t, db, `insert into voices (name, pool, language, engine, sample_rate) values ('narrator', 'speech', 'en', 'engine-1', 22050)`)
	keys := make([]byte, 0, 64)
	for _, text := range []string{"One.", "Two."} {
		raw, err := hex.DecodeString(rendition(text, 7).Key())
		require.NoError(t, err)
		keys = append(keys, raw...)
	}
	exec(t, db, `insert into blocks (job, b, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, keys, turns)
		select num, 0, '{1,1}', '{One.,Two.}', '{narrator,narrator}', '{en,en}', '{speech,speech}', '{"",""}', '{0,0}', '{0,0}', '{sentence,sentence}',
			'{1,1}', '{22050,22050}', $1, '\x0001' from jobs`, keys)
	exec(t, db, `insert into queues (job, pool, next, seconds) select num, 'speech', 1, 1 from jobs`)
	exec(t, db, `insert into chapters (job_id, ordinal, state, first_segment, segments_total, segments_done, plan_digest)
		values ($1, 1, 'pending', 1, 2, 1, sha256('x'))`, spokenJob)
	exec(t, db, `update jobs set state = 'running', segments_total = 2, segments_done = 1, chapters_total = 1, predicted_seconds = 2, done_seconds = 1,
		plan_digest = sha256('x')`)
}

func rendition(text string, seed int64) job.Rendition {
	return job.Rendition{
		Tenant: tenant, Pool: "speech", Engine: "engine-1", Voice: "narrator", Language: "en", Text: text, Speed: 1.25, Seed: seed, SampleRate: 22050,
	}
}

// What a segment is to say, and with which seed, is in its key, so that audio of
// before is not taken for it.
func TestARedoneSegmentGetsTheKeyOfWhatItWillSay(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	insertSpoken(t, db)
	ctx, seed, text := t.Context(), int64(11), "Won."
	key := func() (key string) {
		require.NoError(t, db.QueryRow(ctx, `select encode(rendition_key, 'hex') from segments where n = 1`).Scan(&key))
		return key
	}
	_, err := s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 2, Seed: &seed})
	require.Equal(t, job.Conflict, job.KindOf(err), "it was not spoken yet: %v", err)
	_, err = s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 3, Seed: &seed})
	require.Equal(t, job.NotFound, job.KindOf(err), "%v", err)
	_, err = s.RedoSegment(ctx, "other", spokenJob, store.Redo{Segment: 1, Seed: &seed})
	require.Equal(t, job.NotFound, job.KindOf(err), "another tenant's: %v", err)
	blank := " \n"
	_, err = s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 1, Spoken: &blank})
	require.Equal(t, job.Invalid, job.KindOf(err), "%v", err)

	o, err := s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 1, Seed: &seed})
	require.NoError(t, err)
	require.Equal(t, store.Outcome{ID: spokenJob, State: job.StateRunning, Version: 2, Changed: true}, o)
	require.Equal(t, rendition("One.", 11).Key(), key())
	o, err = s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 1, Seed: &seed})
	require.NoError(t, err)
	require.False(t, o.Changed, "the same again")

	exec(t, db, `delete from retries`) // it was spoken
	exec(t, db, `update jobs set segments_done = 1; update chapters set segments_done = 1`)
	_, err = s.RedoSegment(ctx, tenant, spokenJob, store.Redo{Segment: 1, Spoken: &text})
	require.NoError(t, err)
	require.Equal(t, rendition("Won.", 11).Key(), key(), "the seed of before stays")
	var said string
	var digest, want []byte
	require.NoError(t, db.QueryRow(ctx, `select s.text, c.plan_digest from segments s join chapters c on c.job_id = s.job_id where n = 1`).Scan(&said, &digest))
	order := job.NewOrderDigest()
	order.Add(key())
	order.Add(rendition("Two.", 7).Key())
	want = order.Sum()
	require.Equal(t, text, said)
	require.Equal(t, want, digest, "the proof of completeness is that of the new key")
}

func TestCommandsMayBeRepeatedAndKnowTheirTenant(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	insertSpoken(t, db)
	ctx, priority, class, soon := t.Context(), 3, job.Interactive, time.Now().Add(time.Hour).Truncate(time.Millisecond)
	none := time.Time{}
	version := int64(1)
	for name, do := range map[string]func(job.Tenant) (store.Outcome, error){
		"pause": func(who job.Tenant) (store.Outcome, error) { return s.PauseJob(ctx, who, spokenJob) },
		"set": func(who job.Tenant) (store.Outcome, error) {
			return s.SetJob(ctx, who, spokenJob, store.Terms{Priority: &priority, Class: &class, Deadline: &soon})
		},
	} {
		_, err := do("other")
		require.Equal(t, job.NotFound, job.KindOf(err), "%s: %v", name, err)
		version++
		for _, changed := range []bool{true, false} {
			o, err := do(tenant)
			require.NoError(t, err, name)
			require.Equal(t, store.Outcome{ID: spokenJob, State: job.StateRunning, Version: version, Changed: changed}, o, name)
		}
	}
	var deadline *time.Time
	var held, paused bool
	read := func() {
		t.Helper()
		require.NoError(t, db.QueryRow(ctx, `select deadline, held, paused_at is not null from jobs join queues on job = num`).Scan(&deadline, &held, &paused))
	}
	read()
	require.WithinDuration(t, soon, *deadline, 0)
	require.True(t, held && paused)
	_, err := s.SetJob(ctx, tenant, spokenJob, store.Terms{Deadline: &none})
	require.NoError(t, err)
	_, err = s.ResumeJob(ctx, tenant, spokenJob)
	require.NoError(t, err)
	read()
	require.Nil(t, deadline)
	require.False(t, held || paused)

	o, err := s.RedriveJob(ctx, tenant, spokenJob)
	require.NoError(t, err)
	require.False(t, o.Changed, "nothing failed")
	exec(t, db, `update jobs set state = 'cancelled', finished_at = now()`)
	_, err = s.PauseJob(ctx, tenant, spokenJob)
	require.Equal(t, job.Conflict, job.KindOf(err), "it has ended: %v", err)
	_, err = s.RedriveJob(ctx, tenant, spokenJob)
	require.Equal(t, job.Conflict, job.KindOf(err), "it has ended: %v", err)
}

// How a segment is to be spoken is in its key, too: its own instructions, else the job's.
func TestARedoneSegmentIsSpokenAsItWasInstructed(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	insertSpoken(t, db)
	exec(t, db, `update jobs set spec = spec || '{"instructions": "warm"}'`)
	for seed, own := range map[int64]string{11: "", 12: "cold"} {
		exec(t, db, `update blocks set instructions = array[$1, '']`, own)
		exec(t, db, `delete from retries`)
		exec(t, db, `update jobs set segments_done = 1`)
		exec(t, db, `update chapters set segments_done = 1`)
		_, err := s.RedoSegment(t.Context(), tenant, spokenJob, store.Redo{Segment: 1, Seed: &seed})
		require.NoError(t, err)
		var key string
		require.NoError(t, db.QueryRow(t.Context(), `select encode(rendition_key, 'hex') from segments where n = 1`).Scan(&key))
		want := rendition("One.", seed)
		want.Instructions = cmp.Or(own, "warm")
		require.Equal(t, want.Key(), key)
	}
}
