package release_test

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
)

// wrong lists what must never be, of whatever job. $1 are renditions that could
// not be read: those who need them find out when they join.
const wrong = `
with s as materialized (select * from segments),
by_chapter as (
    select job_id, chapter, count(*) filter (where state in ('done', 'reused')) as done, count(*) filter (where state = 'failed') as failed from s group by 1, 2),
by_job as (
    select job_id, count(*) filter (where state = 'done') as done, count(*) filter (where state = 'reused') as reused,
        count(*) filter (where state = 'failed') as failed,
        coalesce(sum(predicted_seconds) filter (where state in ('done', 'reused', 'failed')), 0) as seconds
    from s group by 1)
select format('%s counts %s done, %s reused, %s failed, %s s and has %s', j.id, j.segments_done, j.segments_reused, j.segments_failed, j.done_seconds, b)
from jobs j join by_job b on b.job_id = j.id
where (j.segments_done, j.segments_reused, j.segments_failed) <> (b.done, b.reused, b.failed) or abs(j.done_seconds - b.seconds) > 0.01
union all
select format('chapter %s of %s counts %s done, %s failed and has %s', c.ordinal, c.job_id, c.segments_done, c.segments_failed, b)
from chapters c join by_chapter b on b.job_id = c.job_id and b.chapter = c.ordinal
where (c.segments_done, c.segments_failed) <> (b.done, b.failed)
union all
select format('segment %s of %s is %s without audio', s.n, s.job_id, s.state) from s where s.state in ('done', 'reused') and s.audio_samples is null
    and s.rendition_key <> all ($1::bytea[])
union all
select format('segments of block %s of job %s are out twice', (n - 1) / 64, job) from outstanding
group by job, (n - 1) / 64 having sum(bit_count(mask::bit(64))) <> bit_count(bit_or(mask)::bit(64))
union all
select format('segment %s of job %s is out and to be released again', r.n, r.job)
from retries r join outstanding o on o.job = r.job and (o.n - 1) / 64 = (r.n - 1) / 64 and o.mask >> ((r.n - 1) % 64) & 1 = 1
union all
select format('%s is %s and has work', j.id, j.state) from jobs j
where j.finished_at is not null
    and (exists (select from queues q where q.job = j.num and not q.closed) or exists (select from outstanding o where o.job = j.num)
        or exists (select from retries r where r.job = j.num) or exists (select from outbox x where x.job_id = j.id))
union all
select format('queue %s of %s counts %s s and has %s', q.pool, j.id, q.seconds, x.seconds)
from queues q join jobs j on j.num = q.job
    cross join lateral (select coalesce(sum(g.predicted_seconds), 0) as seconds from s g join blocks b on b.job = q.job and b.b = (g.n - 1) / 64
        where g.job = q.job and g.pool = q.pool and g.state <> 'reused' and 64 * b.b + get_byte(b.turns, (g.n - 1) % 64) >= q.next) x
where not q.closed and abs(q.seconds - x.seconds) > 0.01
union all
select format('chapter %s of %s is to be joined and nobody is told', c.ordinal, c.job_id) from chapters c join jobs j on j.id = c.job_id
where c.state = 'assembling' and j.finished_at is null
    and not exists (select from outbox x where x.kind = 'assemble' and x.job_id = c.job_id and x.ordinal = c.ordinal)
union all
select format('%s is to end and nobody is told', j.id) from jobs j
where j.finished_at is null and j.chapters_total > 0 and j.chapters_ready + j.chapters_failed = j.chapters_total
    and not exists (select from outbox x where x.kind = 'finish' and x.job_id = j.id)
union all
select format('%s has %s events of its end', j.id, count(d)) from jobs j
    left join deliveries d on d.job_id = j.id and d.ordinal = 1000000 * j.reopened
        and d.event in ('job.succeeded', 'job.partial', 'job.failed', 'job.cancelled')
where j.state in ('succeeded', 'partial', 'cancelled') or j.state = 'failed' and j.segments_total > 0
group by j.id having count(d) <> 1
union all
select format('%s is paused and has work out, or to be let out', j.id) from jobs j
where j.paused_at is not null and j.finished_at is null
    and (exists (select from queues q where q.job = j.num and not q.held and not q.closed) or exists (select from outstanding o where o.job = j.num)
        or exists (select from retries r where r.job = j.num and r.not_before < 'infinity'))
union all
select format('%s is not paused and is held', j.id) from jobs j
where j.paused_at is null and j.finished_at is null
    and (exists (select from queues q where q.job = j.num and q.held) or exists (select from retries r where r.job = j.num and r.not_before = 'infinity'))
union all
select format('the plan of %s is not that of its chapters', j.id) from jobs j
where j.chapters_total > 0 and j.plan_digest <> (
    select sha256(string_agg(int4send(64) || convert_to(encode(c.plan_digest, 'hex'), 'UTF8'), ''::bytea order by c.ordinal)) from chapters c where c.job_id = j.id)
union all
select format('the plan of chapter %s of %s is not that of its segments', c.ordinal, c.job_id) from chapters c
where c.plan_digest <> (
    select sha256(string_agg(int4send(64) || convert_to(encode(s.rendition_key, 'hex'), 'UTF8'), ''::bytea order by s.n)) from s
    where s.job_id = c.job_id and s.chapter = c.ordinal)`

// agree looks whether all that is stored fits together, and whether every
// change of a job raised its version.
func (w *world) agree(t *rapid.T) {
	rows, err := w.DB.Query(w.ctx, wrong, w.dropped)
	require.NoError(t, err)
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, faults, strings.Join(faults, "\n"))
	rows, err = w.DB.Query(w.ctx, `select id, version, format('%s %s %s %s %s %s', state, segments_done, segments_reused, segments_failed, chapters_ready, chapters_failed) from jobs`)
	require.NoError(t, err)
	var id job.ID
	var now seen
	_, err = pgx.ForEachRow(rows, []any{&id, &now.version, &now.rest}, func() error {
		if old, known := w.seen[id]; known && (now.version < old.version || now.version == old.version && now.rest != old.rest) {
			return fmt.Errorf("%s went from %v to %v", id, old, now)
		}
		w.seen[id] = now
		return nil
	})
	require.NoError(t, err)
	for _, h := range w.held {
		require.LessOrEqual(t, bits.OnesCount64(h.left), len(h.Value.Segments), "a worker is asked for what it was not given")
	}
}

// judge compares how the jobs ended with what was done to them.
func (w *world) judge(t *rapid.T) {
	for _, r := range w.jobs {
		var state job.State
		var failed, ready int
		require.NoError(t, w.DB.QueryRow(w.ctx, `select state, segments_failed, chapters_ready from jobs where id = $1`, r.ID).Scan(&state, &failed, &ready))
		want := job.StateSucceeded
		switch {
		case r.cancelled:
			want = job.StateCancelled
		case r.refused:
			want = job.StateFailed
		case failed > 0 && r.Spec.OnFailure == job.AllowPartial && ready > 0:
			want = job.StatePartial
		case failed > 0:
			want = job.StateFailed
		}
		require.Equal(t, want, state, r.ID)
		require.Equal(t, w.fails[string(r.ID)], failed, "failed segments of %s", r.ID)
	}
}
