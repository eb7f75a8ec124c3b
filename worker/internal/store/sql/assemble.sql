-- Joining chapters and ending jobs. Every change is fenced by the chapter's
-- state and attempts, or by the job's state.

-- name: Chapter
select c.state, c.attempts, c.segments_total, c.segments_done, c.segments_failed, c.plan_digest,
    j.tenant_id, j.finished_at is not null, j.on_failure,
    coalesce(j.spec -> 'output' -> 'pauses', 'null'), coalesce(j.spec -> 'callback', 'null')
from chapters c join jobs j on j.id = c.job_id
where c.job_id = $1 and c.ordinal = $2;

-- name: ChapterSegments
select s.n, s.state, s.break_after, s.rendition_key, coalesce(s.sample_rate, 0), coalesce(s.audio_samples, 0),
    coalesce(r.object_key, ''), coalesce(r.bytes, 0), coalesce(r.samples, 0), r.sha256
from segments s left join renditions r on r.key = s.rendition_key
where s.job_id = $1 and s.chapter = $2 and s.n > $3
order by s.n limit $4;

-- name: LockJob
select state, finished_at is not null from jobs where id = $1 for update;

-- name: ReadyChapter
update chapters
set state = 'ready', proof_digest = $4, sample_rate = $5, audio_samples = $6, artifact = $7, object_key = $8,
    bytes = $9, sha256 = $10, ready_at = now(), error_kind = null, error_detail = null
where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3
    and segments_done + segments_failed = segments_total and (segments_failed > 0 or plan_digest = $4);

-- name: CountReady
update jobs set chapters_ready = chapters_ready + 1, version = version + 1 where id = $1;

-- name: FailChapter
update chapters
set state = 'failed', error_kind = $4, error_detail = $5, attempts = attempts + 1
where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3;

-- name: CountFailed
update jobs set chapters_failed = chapters_failed + 1, version = version + 1 where id = $1;

-- name: DropRendition
delete from renditions where key = $1 and object_key = $2;

-- name: ReopenSegments
-- Segments of one chapter whose rendition turned out unusable become work again.
with u as (
    update segments s
    set state = 'pending', done_at = null, audio_samples = null, verdict = null,
        released_at = null, not_before = null, error_kind = $4, error_detail = $5
    from (select n, state, sample_rate, audio_samples from segments
          where job_id = $1 and chapter = $2 and rendition_key = $3 and state in ('done', 'reused')) o
    where s.job_id = $1 and s.n = o.n
    returning s.n, o.state as was, s.predicted_seconds, o.audio_samples::float8 / o.sample_rate as audio_seconds),
x as (
    select count(*)::int as segments,
        (count(*) filter (where was = 'done'))::int as done,
        (count(*) filter (where was = 'reused'))::int as reused,
        coalesce(sum(predicted_seconds), 0) as predicted,
        coalesce(sum(audio_seconds), 0) as audio,
        coalesce(sum(audio_seconds) filter (where was = 'reused'), 0) as reused_audio
    from u),
j as (
    update jobs j
    set segments_done = j.segments_done - x.done, segments_reused = j.segments_reused - x.reused,
        done_seconds = greatest(0, j.done_seconds - x.predicted),
        audio_seconds = greatest(0, j.audio_seconds - x.audio),
        reused_seconds = greatest(0, j.reused_seconds - x.reused_audio),
        state = case when j.state = 'assembling' then 'running' else j.state end,
        version = j.version + 1
    from x where j.id = $1 and x.segments > 0),
c as (
    update chapters c set segments_done = c.segments_done - x.segments
    from x where c.job_id = $1 and c.ordinal = $2)
select segments from x;

-- name: ReopenChapter
update chapters set state = 'pending', attempts = attempts + 1
where job_id = $1 and ordinal = $2 and state = 'assembling' and attempts = $3;

-- name: AddArtifact
insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (job_id, name) do update
set media_type = excluded.media_type, object_key = excluded.object_key, bytes = excluded.bytes,
    sha256 = excluded.sha256, audio_seconds = excluded.audio_seconds, created_at = now();

-- name: AddDelivery
insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload)
values ($1, $2, $3, $4, $5, $6, '')
on conflict (job_id, event, ordinal) do nothing;

-- name: DropOutbox
delete from outbox where kind = $1 and job_id = $2 and ordinal = $3;

-- name: DropStaleAssembly
-- Only what is not due: a chapter that became due again has a row of its own.
delete from outbox o using chapters c, jobs j
where o.kind = 'assemble' and o.job_id = $1 and o.ordinal = $2
    and c.job_id = o.job_id and c.ordinal = o.ordinal and j.id = o.job_id
    and (c.state <> 'assembling' or j.finished_at is not null);

-- name: DropStaleFinish
delete from outbox o using jobs j
where o.kind = 'finish' and o.job_id = $1 and j.id = o.job_id and j.finished_at is not null;

-- name: AdvanceJob
select advance_job($1);

-- name: Job
select state, finished_at is not null, tenant_id, title, language, on_failure, coalesce(spec ->> 'voice', ''),
    segments_total, segments_done, segments_reused, segments_failed,
    chapters_total, chapters_ready, chapters_failed, coalesce(plan_digest, ''),
    coalesce(spec -> 'output' -> 'pauses', 'null'), coalesce(spec -> 'callback', 'null')
from jobs where id = $1;

-- name: Chapters
select ordinal, title, matter, state, segments_total, segments_failed, coalesce(sample_rate, 0),
    coalesce(audio_samples, 0), coalesce(artifact, ''), coalesce(bytes, 0), coalesce(sha256, ''),
    coalesce(proof_digest, ''), coalesce(error_kind, ''), coalesce(error_detail, '')
from chapters where job_id = $1 and ordinal > $2 order by ordinal limit $3;

-- name: ManifestSegments
select s.n, s.state, s.break_after, s.rendition_key, coalesce(s.sample_rate, 0), coalesce(s.audio_samples, 0),
    s.text, s.voice, s.language, s.source_document, s.source_start, s.source_end,
    case when r.samples = s.audio_samples then r.sha256 end,
    case when r.samples = s.audio_samples then r.marks end,
    coalesce(s.error_kind, ''), coalesce(s.error_detail, '')
from segments s left join renditions r on r.key = s.rendition_key
where s.job_id = $1 and s.chapter = $2 and s.n > $3
order by s.n limit $4;

-- name: FirstFailure
select n, coalesce(error_kind, ''), coalesce(error_detail, '') from segments
where job_id = $1 and state = 'failed' order by n limit 1;

-- name: FinishJob
update jobs
set state = $2, proof_digest = $3, error_kind = nullif($4, ''), error_detail = nullif($5, ''),
    finished_at = clock_timestamp(), version = version + 1
where id = $1 and state = 'assembling' and chapters_ready + chapters_failed = chapters_total
    and ($2 <> 'succeeded' or plan_digest = $3);
