-- What becomes of segments that were in a worker's hands. Every statement is
-- fenced by (state, attempt), so whoever comes late changes nothing.

-- name: Wanted
-- The released segments among those asked for, with the attempt that counts and
-- the rendition if somebody stored it meanwhile.
select s.job_id, s.n, s.attempt,
    r.key is not null, coalesce(r.object_key, ''), coalesce(r.sample_rate, 0), coalesce(r.samples, 0)
from unnest($1::text[], $2::int[], $3::text[]) as a (job_id, n, rendition_key)
    join segments s on s.job_id = a.job_id and s.n = a.n and s.rendition_key = a.rendition_key
    join jobs j on j.id = s.job_id
    left join renditions r on r.key = s.rendition_key
where s.state = 'released' and j.finished_at is null;

-- name: LockJobs
select id from jobs where id = any ($1::text[]) order by id for update;

-- name: AddRenditions
insert into renditions (key, tenant_id, object_key, sample_rate, samples, bytes, sha256, marks, engine)
select key, tenant_id, object_key, sample_rate, samples, bytes, sha256, marks::jsonb, engine
from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::text[], $9::text[])
    as r (key, tenant_id, object_key, sample_rate, samples, bytes, sha256, marks, engine)
order by key
on conflict (key) do nothing;

-- name: SettleDone
with o as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::float8[], $5::text[])
        as o (job_id, n, attempt, gpu_seconds, verdict)),
u as (
    update segments s
    set state = 'done', done_at = now(), sample_rate = r.sample_rate, audio_samples = r.samples,
        verdict = nullif(o.verdict, ''), error_kind = null, error_detail = null, not_before = null
    from o, jobs j, renditions r
    where s.job_id = o.job_id and s.n = o.n and s.attempt = o.attempt and s.state = 'released'
        and j.id = s.job_id and j.finished_at is null and r.key = s.rendition_key
    returning s.job_id, s.n, s.attempt, s.chapter, s.predicted_seconds, o.gpu_seconds,
        r.samples::float8 / r.sample_rate as audio_seconds),
c as (
    update chapters c set segments_done = c.segments_done + x.segments
    from (select job_id, chapter, count(*)::int as segments from u group by job_id, chapter) x
    where c.job_id = x.job_id and c.ordinal = x.chapter),
j as (
    update jobs j
    set segments_done = j.segments_done + x.segments, done_seconds = j.done_seconds + x.predicted,
        audio_seconds = j.audio_seconds + x.audio, gpu_seconds = j.gpu_seconds + x.gpu, version = j.version + 1
    from (select job_id, count(*)::int as segments, sum(predicted_seconds) as predicted,
              sum(audio_seconds) as audio, sum(gpu_seconds) as gpu from u group by job_id) x
    where j.id = x.job_id)
select job_id, n, attempt from u;

-- name: SettleRetry
with o as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::float8[], $5::float8[], $6::text[], $7::text[])
        as o (job_id, n, attempt, gpu_seconds, delay_seconds, error_kind, error_detail)),
u as (
    update segments s
    set state = 'pending', released_at = null, not_before = now() + make_interval(secs => o.delay_seconds),
        error_kind = o.error_kind, error_detail = o.error_detail
    from o, jobs j
    where s.job_id = o.job_id and s.n = o.n and s.attempt = o.attempt and s.state = 'released'
        and j.id = s.job_id and j.finished_at is null
    returning s.job_id, s.n, s.attempt, o.gpu_seconds),
j as (
    update jobs j set gpu_seconds = j.gpu_seconds + x.gpu, version = j.version + 1
    from (select job_id, sum(gpu_seconds) as gpu from u group by job_id) x
    where j.id = x.job_id)
select job_id, n, attempt from u;

-- name: SettleFailed
with o as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::float8[], $5::text[], $6::text[])
        as o (job_id, n, attempt, gpu_seconds, error_kind, error_detail)),
u as (
    update segments s set state = 'failed', error_kind = o.error_kind, error_detail = o.error_detail, not_before = null
    from o, jobs j
    where s.job_id = o.job_id and s.n = o.n and s.attempt = o.attempt and s.state = 'released'
        and j.id = s.job_id and j.finished_at is null
    returning s.job_id, s.n, s.attempt, s.chapter, s.predicted_seconds, o.gpu_seconds),
c as (
    update chapters c set segments_failed = c.segments_failed + x.segments
    from (select job_id, chapter, count(*)::int as segments from u group by job_id, chapter) x
    where c.job_id = x.job_id and c.ordinal = x.chapter),
j as (
    update jobs j
    set segments_failed = j.segments_failed + x.segments, done_seconds = j.done_seconds + x.predicted,
        gpu_seconds = j.gpu_seconds + x.gpu, version = j.version + 1
    from (select job_id, count(*)::int as segments, sum(predicted_seconds) as predicted,
              sum(gpu_seconds) as gpu from u group by job_id) x
    where j.id = x.job_id)
select job_id, n, attempt from u;

-- name: AdvanceJobs
select advance_job(id) from unnest($1::text[]) as id order by id;

-- name: JobVersions
select id, version from jobs where id = any ($1::text[]);
