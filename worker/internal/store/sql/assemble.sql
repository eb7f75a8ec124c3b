-- Joining chapters and ending jobs. Every change is fenced by the chapter's
-- state and attempts, or by the job's state.

-- name: Chapter
select j.num, c.state, c.attempts, c.spared, c.first_segment, c.segments_total, c.segments_done, c.segments_failed, c.plan_digest,
    j.tenant_id, j.class, j.finished_at is not null, j.on_failure,
    coalesce(j.spec -> 'output' -> 'pauses', 'null'), coalesce(j.spec -> 'callback', 'null'),
    coalesce(nullif(j.spec -> 'output' ->> 'loudness', 'none'), '')
from chapters c join jobs j on j.id = c.job_id
where c.job_id = $1 and c.ordinal = $2;

-- name: ChapterSegments
select s.n, s.state, s.break_after, encode(s.rendition_key, 'hex'), r.key is not null, coalesce(r.sample_rate, 0), coalesce(r.samples, 0),
    coalesce(r.suffix, ''), coalesce(r.bytes, 0), r.sha256, r.lufs, r.rms, r.true_peak, r.lead_samples, r.tail_samples
from segments_between($1, $2, $3) s
         left join lateral (select * from renditions r where r.key = s.rendition_key and s.state in ('done', 'reused') offset 0) r on true
order by s.n;

-- name: LockJob
select state, finished_at is not null from jobs where id = $1 for update;

-- name: ReadyChapter
-- A chapter is ready, with its file; the job counts it, who asked for it is told ($14 on), and
-- it is not due any more. Nothing of that if it is not what it was, or its job has ended.
with ready as (
    update chapters
    set state = 'ready', proof_digest = $4, sample_rate = $5, audio_samples = $6, artifact = $7, object_key = $8,
        bytes = $9, sha256 = $10, ready_at = now(), encoded_at = null, error_kind = null, error_detail = null
    where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3
        and segments_done + segments_failed = segments_total and (segments_failed > 0 or plan_digest = $4)
        and exists (select from jobs where id = $1 and finished_at is null)
    returning job_id, ordinal),
file as (
    insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds, loudness)
    select job_id, $7, $11, $8, $9, $10, $12::float8, $13::jsonb from ready
    on conflict (job_id, name) do update
    set media_type = excluded.media_type, object_key = excluded.object_key, bytes = excluded.bytes,
        sha256 = excluded.sha256, audio_seconds = excluded.audio_seconds, loudness = excluded.loudness, created_at = now()),
counted as (
    update jobs j set chapters_ready = j.chapters_ready + 1, bound_at = null, version = j.version + 1 from ready r where j.id = r.job_id
    returning j.id, j.tenant_id),
told as (
    insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload)
    select $14, c.tenant_id, c.id, $15, $2, $16, '' from counted c where $14 <> ''
    on conflict (job_id, event, ordinal) do nothing),
done as (
    delete from outbox o using ready r where o.kind = 'assemble' and o.job_id = r.job_id and o.ordinal = r.ordinal)
select from ready;

-- name: FailChapter
update chapters
set state = 'failed', error_kind = $4, error_detail = $5, attempts = attempts + 1
where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3;

-- name: CountFailed
update jobs set chapters_failed = chapters_failed + 1, version = version + 1 where id = $1;

-- name: DropRenditions
delete from renditions r using unnest($1::bytea[], $2::text[]) as d (key, suffix)
where r.key = d.key and r.suffix = d.suffix;

-- name: ReopenSegments
-- Segments of one chapter whose rendition turned out unusable become work again.
-- What they counted is taken back; where the rendition is gone, by its prediction.
with d as (
    select * from unnest($4::bytea[], $6::text[]) as d (key, detail)),
s as materialized (
    select s.n, s.state, s.pool, s.attempt, s.predicted_seconds::float8 as seconds, d.detail,
        coalesce(r.samples::float8 / r.sample_rate, s.predicted_seconds) as audio
    from chapters c
             cross join lateral segments_between($2, c.first_segment, c.first_segment + c.segments_total - 1) s
             join d on d.key = s.rendition_key
             left join lateral (select r.samples, r.sample_rate from renditions r where r.key = s.rendition_key offset 0) r on true
    where c.job_id = $1 and c.ordinal = $3 and s.state in ('done', 'reused')),
again as (
    insert into retries (job, n, pool, attempts, spared, not_before, error_kind, error_detail) -- what was well once pays for no former attempt
    select $2, n, pool, attempt, attempt, case when exists (select from jobs where num = $2 and paused_at is not null) then 'infinity' else clock_timestamp() end,
        $5, detail from s
    on conflict (job, n) do nothing),
forgotten as (
    delete from exceptions e using s where e.job = $2 and e.n = s.n),
unused as (
    update blocks b set reused = b.reused & ~x.bits
    from (select (n - 1) / 64 as b, bit_or(1::bigint << ((n - 1) % 64)) as bits from s where state = 'reused' group by 1) x
    where b.job = $2 and b.b = x.b),
x as (
    select count(*)::int as segments,
        (count(*) filter (where state = 'done'))::int as done,
        (count(*) filter (where state = 'reused'))::int as reused,
        coalesce(sum(seconds), 0) as seconds,
        coalesce(sum(audio), 0) as audio,
        coalesce(sum(audio) filter (where state = 'reused'), 0) as reused_audio
    from s),
j as (
    update jobs j
    set segments_done = j.segments_done - x.done, segments_reused = j.segments_reused - x.reused,
        done_seconds = greatest(0, j.done_seconds - x.seconds),
        audio_seconds = greatest(0, j.audio_seconds - x.audio),
        reused_seconds = greatest(0, j.reused_seconds - x.reused_audio),
        state = case when j.state = 'assembling' then 'running' else j.state end,
        version = j.version + 1
    from x where j.id = $1 and x.segments > 0),
c as (
    update chapters c set segments_done = c.segments_done - x.segments
    from x where c.job_id = $1 and c.ordinal = $3)
select segments from x;

-- name: ReopenChapter
update chapters set state = 'pending', attempts = attempts + 1
where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3;

-- name: RejoinChapter
-- A chapter whose audio is not what its segments have now is joined again.
with c as (
    update chapters
    set state = 'assembling', attempts = attempts + 1, proof_digest = null, object_key = null, ready_at = null
    where job_id = $1 and ordinal = $2 and state = 'ready'
    returning ordinal),
j as (
    update jobs j set chapters_ready = j.chapters_ready - 1, version = j.version + 1 from c where j.id = $1)
insert into outbox (kind, job_id, ordinal) select 'assemble', $1, ordinal from c
on conflict (kind, job_id, ordinal) do nothing;

-- name: DropOutbox
delete from outbox where kind = $1 and job_id = $2 and ordinal = $3;

-- name: BeginDue
-- A first delivery of an attempt that began already is what was published again
-- because WORK was lost: nobody died with it.
update outbox
set started = case when $5::boolean or started < attempt then started + 1 else started end
where kind = $1 and job_id = $2 and ordinal = $3 and attempt = $4 and parked_at is null
returning started;

-- name: ReturnDue
update outbox set started = greatest(started - 1, 0) where kind = $1 and job_id = $2 and ordinal = $3 and attempt = $4;

-- name: PostponeDue
update outbox
set released_at = null, not_before = clock_timestamp() + make_interval(secs => $5), started = greatest(started - $6::int, 0),
    error_kind = $7, error_detail = $8
where kind = $1 and job_id = $2 and ordinal = $3 and attempt = $4 and parked_at is null;

-- name: ParkDue
update outbox set parked_at = clock_timestamp(), error_kind = $4, error_detail = $5 where kind = $1 and job_id = $2 and ordinal = $3;

-- name: DropStaleAssembly
-- Only what is not due: a chapter that became due again has a row of its own.
delete from outbox o using chapters c, jobs j
where o.kind = 'assemble' and o.job_id = $1 and o.ordinal = $2
    and c.job_id = o.job_id and c.ordinal = o.ordinal and j.id = o.job_id
    and (c.state <> 'assembling' or j.finished_at is not null);

-- name: DropStaleFinish
delete from outbox o using jobs j
where o.kind = 'finish' and o.job_id = $1 and j.id = o.job_id
    and (j.finished_at is not null or j.chapters_ready + j.chapters_failed < j.chapters_total);

-- name: AdvanceJob
select advance_job($1);

-- name: Job
select num, state, finished_at is not null, tenant_id, class, title, language, on_failure, coalesce(spec ->> 'voice', ''),
    segments_total, segments_done, segments_reused, segments_failed,
    chapters_total, chapters_ready, chapters_failed, coalesce(plan_digest, ''),
    coalesce(spec -> 'output' -> 'pauses', 'null'), coalesce(spec -> 'callback', 'null'),
    array(select jsonb_array_elements_text(spec -> 'output' -> 'subtitles')), coalesce((spec -> 'output' ->> 'read_along')::boolean, false),
    coalesce(nullif(spec -> 'output' ->> 'loudness', 'none'), ''), coalesce(nullif(spec ->> 'verify', 'none'), ''),
    coalesce(spec #>> '{input,media_type}', ''), coalesce(source_sha256, ''), coalesce(source_bytes, 0)
from jobs where id = $1;

-- name: FilesBeside
-- What is there of a job before it ends: all but the files of its chapters and an old manifest.
select a.name, a.media_type, a.bytes, a.sha256, a.loudness
from artifacts a
where a.job_id = $1 and a.name <> 'manifest.json'
    and not exists (select from chapters c where c.job_id = a.job_id and c.artifact = a.name and c.state = 'ready')
order by a.name;

-- name: Chapters
select ordinal, title, matter, state, first_segment, segments_total, segments_failed, coalesce(sample_rate, 0),
    coalesce(audio_samples, 0), coalesce(artifact, ''), coalesce(bytes, 0), coalesce(sha256, ''),
    coalesce(proof_digest, ''), coalesce(error_kind, ''), coalesce(error_detail, ''),
    (select a.loudness from artifacts a where a.job_id = c.job_id and a.name = c.artifact)
from chapters c where job_id = $1 and ordinal > $2 order by ordinal limit $3;

-- name: ManifestSegments
select s.n, s.state, s.break_after, encode(s.rendition_key, 'hex'), coalesce(r.sample_rate, 0), coalesce(r.samples, 0),
    s.text, s.voice, s.language, s.source_document, s.source_start, s.source_end, r.sha256, r.marks,
    coalesce(s.error_kind, ''), coalesce(s.error_detail, ''), r.lufs, r.rms, r.true_peak, r.lead_samples, r.tail_samples,
    coalesce(r.verdict, ''), r.hearing
from segments_between($1, $2, $3) s
         left join lateral (select * from renditions r where r.key = s.rendition_key and s.state in ('done', 'reused') offset 0) r on true
order by s.n;

-- name: FirstFailure
select n, coalesce(error_kind, ''), coalesce(error_detail, '') from exceptions
where job = $1 and state = 'failed' order by n limit 1;

-- name: FinishJob
-- A job ends, with its last files ($7 on); who asked for it is told ($14 on), and it is not due
-- any more. Nothing of that if it is not assembling, or the proof does not hold.
with ended as (
    update jobs
    set state = $2, proof_digest = $3, error_kind = nullif($4, ''), error_detail = nullif($5, ''), quality = $6,
        finished_at = clock_timestamp(), version = version + 1
    where id = $1 and state = 'assembling' and chapters_ready + chapters_failed = chapters_total
        and ($2 <> 'succeeded' or plan_digest = $3)
    returning id, tenant_id),
files as (
    insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds, loudness)
    select e.id, f.name, f.media_type, f.object_key, f.bytes, f.sha256, f.audio_seconds, f.loudness::jsonb
    from ended e cross join unnest($7::text[], $8::text[], $9::text[], $10::bigint[], $11::bytea[], $12::float8[], $13::text[])
                                as f (name, media_type, object_key, bytes, sha256, audio_seconds, loudness)
    on conflict (job_id, name) do update
    set media_type = excluded.media_type, object_key = excluded.object_key, bytes = excluded.bytes,
        sha256 = excluded.sha256, audio_seconds = excluded.audio_seconds, loudness = excluded.loudness, created_at = now()),
told as (
    insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload)
    select $14, e.tenant_id, e.id, $15, 0, $16, '' from ended e where $14 <> ''
    on conflict (job_id, event, ordinal) do nothing),
parked as (
    update outbox o set parked_at = clock_timestamp(), error_kind = $4, error_detail = $5
    from ended e where $17::boolean and o.kind = 'finish' and o.job_id = e.id and o.ordinal = 0),
done as (
    delete from outbox o using ended e where not $17::boolean and o.kind = 'finish' and o.job_id = e.id and o.ordinal = 0)
select from ended;
