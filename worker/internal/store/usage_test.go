package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// used is what jobs have used.
type used struct {
	jobs, characters   int
	audio, reused, gpu float64
}

func (u *used) add(o used) {
	u.jobs, u.characters = u.jobs+o.jobs, u.characters+o.characters
	u.audio, u.reused, u.gpu = u.audio+o.audio, u.reused+o.reused, u.gpu+o.gpu
}

func read(t *testing.T, pool *pg.Pool, sql string, args ...any) (u used) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&u.jobs, &u.characters, &u.audio, &u.reused, &u.gpu))
	return u
}

// recount looks at every segment of a job. What engines spent is known to who has
// settled alone.
func recount(t *testing.T, pool *pg.Pool, id job.ID, gpu float64) used {
	t.Helper()
	return read(t, pool, `
select 1, coalesce(sum(char_length(text)), 0), coalesce(sum(audio_samples / 22050.0::double precision), 0),
       coalesce(sum(audio_samples / 22050.0::double precision) filter (where state = 'reused'), 0), $2::double precision
from segments where job_id = $1 and state in ('done', 'reused')`, id, gpu)
}

// Random histories: segments that are done, fail, come again, are told twice and too
// late; jobs that are cancelled, tallied, opened again and deleted. What the days
// say is what a recount of the segments says.
func TestUsageIsARecountOfTheSegments(t *testing.T) {
	t.Parallel()
	s, pool := open(t)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	var ids []job.ID
	gpu := map[job.ID]float64{}
	for n := range 12 {
		var texts []string
		for i := range 1 + random.IntN(8) {
			texts = append(texts, fmt.Sprintf("Line %d of %d: ä is one character.", i, n))
		}
		p := plantest.Insert(t, pool, plantest.Book{OnFailure: job.AllowPartial, Chapters: []plantest.Chapter{plantest.Sentences("One", texts...)}})
		exec := func(sql string) {
			_, err := pool.Exec(t.Context(), sql, p.ID)
			require.NoError(t, err)
		}
		exec(`update jobs set characters = (select sum(char_length(text)) from segments where job_id = $1) where id = $1`)
		ids = append(ids, p.ID)
		works := release(t, pool, p)
		var told []store.Outcome
		for _, w := range works {
			o := done(w)
			o.Rendition.Samples, o.GPUSeconds = int64(1+random.IntN(100_000)), random.Float64()
			switch random.IntN(4) {
			case 0:
				o = failed(w)
			case 1: // it comes again, and is done then or not at all
				again := o
				again.State, again.Rendition, again.ErrorKind, again.ErrorDetail = job.SegmentPending, nil, job.Engine, "It died."
				told = append(told, again)
				continue
			}
			told = append(told, o)
		}
		for round := range 2 { // a worker that died after its commit tells it again
			for i, ok := range settle(t, s, told...) {
				require.Equal(t, round == 0, ok)
				if ok {
					gpu[p.ID] += told[i].GPUSeconds
				}
			}
		}
		switch random.IntN(3) {
		case 0:
			exec(`select drop_work(num) from jobs where id = $1`)
			exec(`update jobs set state = 'cancelled', finished_at = now() where id = $1`)
		case 1:
			exec(`update jobs set state = 'failed', error_kind = 'engine', finished_at = now() where id = $1`)
			exec(`select tally_job(num) from jobs where id = $1`)
			exec(`select tally_job(num) from jobs where id = $1`) // twice is once
			exec(`update jobs set state = 'running', error_kind = null, finished_at = null where id = $1`)
		}
	}
	const days = `select coalesce(sum(jobs), 0), coalesce(sum(characters), 0), coalesce(sum(audio_seconds), 0), coalesce(sum(reused_seconds), 0), coalesce(sum(gpu_seconds), 0) from `
	var want used
	for i, id := range ids {
		u := recount(t, pool, id, gpu[id])
		want.add(u)
		sql := `select tally_job(num) from jobs where id = $1 and finished_at is not null`
		if i%3 == 0 {
			sql = `select drop_work(num), forget_job(num) from jobs where id = $1`
		}
		_, err := pool.Exec(t.Context(), sql, id)
		require.NoError(t, err)
	}
	have := read(t, pool, days+`usage_days`)
	have.add(read(t, pool, days+`usage_live('default')`))
	require.Equal(t, []int{want.jobs, want.characters}, []int{have.jobs, have.characters})
	require.InDelta(t, want.audio, have.audio, 1e-9)
	require.InDelta(t, want.reused, have.reused, 1e-9)
	require.InDelta(t, want.gpu, have.gpu, 1e-9)
	require.Positive(t, have.characters)
}
