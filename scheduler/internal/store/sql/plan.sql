-- name: ClaimInline
-- Interactive jobs first, then one job of every tenant in turn, so that a
-- tenant with ten thousand texts does not stand before the others.
with waiting as (
    select id, tenant_id, class, accepted_at from jobs
    where state = 'accepted' and finished_at is null and source_key is null
    order by accepted_at limit 20000),
ranked as (
    select id, class, accepted_at,
           row_number() over (partition by tenant_id, class order by accepted_at, id) as turn
    from waiting),
picked as (
    select j.id from ranked r join jobs j using (id)
    where j.state = 'accepted'
    order by r.class = 'interactive' desc, r.turn, r.accepted_at, j.id
    limit $1
    for no key update of j skip locked)
update jobs j
set state = 'planning', plan_attempts = j.plan_attempts + 1, version = j.version + 1
from picked p
where j.id = p.id
returning j.id, j.tenant_id, j.class, j.spec, coalesce(j.source_key, ''), coalesce(j.source_etag, ''), j.plan_attempts;

-- name: ClaimDocuments
with waiting as (
    select id, tenant_id, class, accepted_at from jobs
    where state = 'accepted' and finished_at is null and source_key is not null
    order by accepted_at limit 20000),
ranked as (
    select id, class, accepted_at,
           row_number() over (partition by tenant_id, class order by accepted_at, id) as turn
    from waiting),
picked as (
    select j.id from ranked r join jobs j using (id)
    where j.state = 'accepted'
    order by r.class = 'interactive' desc, r.turn, r.accepted_at, j.id
    limit $1
    for no key update of j skip locked)
update jobs j
set state = 'planning', plan_attempts = j.plan_attempts + 1, version = j.version + 1
from picked p
where j.id = p.id
returning j.id, j.tenant_id, j.class, j.spec, coalesce(j.source_key, ''), coalesce(j.source_etag, ''), j.plan_attempts;

-- name: ClaimAgain
update jobs j set plan_attempts = j.plan_attempts + 1
where j.id = $1 and j.state = 'planning'
returning j.id, j.tenant_id, j.class, j.spec, coalesce(j.source_key, ''), coalesce(j.source_etag, ''), j.plan_attempts;

-- name: RefundPlanAttempt
update jobs set plan_attempts = greatest(plan_attempts - 1, 0) where id = any ($1::text[]) and state = 'planning';

-- name: InterruptedPlans
select id, plan_attempts from jobs
where state = 'planning' and finished_at is null and (source_key is not null) = $1
order by accepted_at;

-- name: LockPlanning
select id, tenant_id, spec -> 'callback' from jobs where id = $1 and state = 'planning' for no key update;

-- name: FailPlan
update jobs
set state = 'failed', finished_at = clock_timestamp(), error_kind = $2, error_detail = $3, version = version + 1
where id = $1 and state = 'planning'
returning id, version;

-- name: Voices
select name, pool, language, engine, sample_rate, is_default from voices order by name;

-- name: StageTable
create temporary table if not exists plan_segments (
    job_id            text             not null,
    n                 int              not null,
    chapter           int              not null,
    text              text             not null,
    voice             text             not null,
    language          text             not null,
    pool              text             not null,
    pronunciations    jsonb,
    source_document   text             not null,
    source_start      bigint           not null,
    source_end        bigint           not null,
    break_after       text             not null,
    predicted_seconds double precision not null,
    rendition_key     text             not null,
    sample_rate       int              not null
) on commit delete rows;

-- name: LockPlans
select id from jobs where id = any ($1::text[]) and state = 'planning' order by id for update;

-- name: InsertChapters
insert into chapters (job_id, ordinal, title, matter, state, first_segment, segments_total, plan_digest)
select c.job_id, c.ordinal, c.title, c.matter, 'pending', c.first_segment, c.segments_total, c.plan_digest
from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::int[], $7::bytea[])
         as c (job_id, ordinal, title, matter, first_segment, segments_total, plan_digest);

-- name: InsertSegments
-- A rendition that exists is audio that need not be made again. The lateral
-- limit keeps the look-up on the key's index whatever the statistics say.
insert into segments (job_id, n, chapter, text, voice, language, pool, pronunciations, source_document, source_start,
                      source_end, break_after, predicted_seconds, rendition_key, state, done_at, sample_rate, audio_samples)
select p.job_id, p.n, p.chapter, p.text, p.voice, p.language, p.pool, p.pronunciations, p.source_document, p.source_start,
       p.source_end, p.break_after, p.predicted_seconds, p.rendition_key,
       case when r.samples is null then 'pending' else 'reused' end,
       case when r.samples is null then null else now() end,
       coalesce(r.sample_rate, p.sample_rate), r.samples
from plan_segments p
         left join lateral (select samples, sample_rate from renditions where key = p.rendition_key limit 1) r on true
where p.job_id = any ($1::text[]);

-- name: CountReused
with reused as (
    select job_id, chapter, count(*) as segments, sum(predicted_seconds) as predicted,
           sum(audio_samples::double precision / sample_rate) as audio
    from segments
    where job_id = any ($1::text[]) and state = 'reused'
    group by job_id, chapter),
counted as (
    update chapters c set segments_done = r.segments
    from reused r
    where c.job_id = r.job_id and c.ordinal = r.chapter)
select job_id, sum(segments)::int, sum(predicted), sum(audio) from reused group by job_id;

-- name: QueueJobs
update jobs j
set state = 'queued', version = j.version + 1, title = p.title, language = p.language,
    segments_total = p.segments, chapters_total = p.chapters, characters = p.characters,
    predicted_seconds = p.predicted, plan_digest = p.digest,
    segments_reused = p.reused, done_seconds = p.done, audio_seconds = p.audio, reused_seconds = p.audio
from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bigint[], $7::double precision[], $8::bytea[],
            $9::int[], $10::double precision[], $11::double precision[])
         as p (id, title, language, segments, chapters, characters, predicted, digest, reused, done, audio)
where j.id = p.id and j.state = 'planning';

-- name: AdvanceJobs
select count(advance_job(id)) from unnest($1::text[]) as id;

-- name: JobVersions
select id, version from jobs where id = any ($1::text[]);
