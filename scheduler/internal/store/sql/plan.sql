-- name: Waiting
-- Whether there are jobs to be planned, with a document ($1) or without: interactive ones, others.
select exists (select from jobs where state = 'accepted' and document = $1 and class = 'interactive'),
       exists (select from jobs where state = 'accepted' and document = $1 and class = 'bulk');

-- name: Claim
-- Jobs of a class ($2) that are to be planned, with a document ($1) or without:
-- one of each tenant in turn, from the tenant after $3 on and once round, up to $4 in
-- all and none of the tenants $6. It looks at $5 tenants and $4 jobs of each, however
-- many wait.
with recursive t as (
    select tenant_id, 1 as k, tenant_id <= $3 as wrapped
    from ((select tenant_id from jobs
           where state = 'accepted' and document = $1 and class = $2 and tenant_id > $3
           order by tenant_id limit 1)
          union all
          (select tenant_id from jobs
           where state = 'accepted' and document = $1 and class = $2
           order by tenant_id limit 1)
          limit 1) first
    union all
    select n.tenant_id, t.k + 1, n.tenant_id <= $3
    from t cross join lateral (
        (select tenant_id from jobs
         where state = 'accepted' and document = $1 and class = $2 and tenant_id > t.tenant_id
         order by tenant_id limit 1)
        union all
        (select tenant_id from jobs
         where state = 'accepted' and document = $1 and class = $2 and not t.wrapped and tenant_id <= $3
         order by tenant_id limit 1)
        limit 1) n
    where t.k < $5::int and (n.tenant_id <= $3 or not t.wrapped)),
waiting as (
    select j.id, t.k, row_number() over (partition by t.tenant_id order by j.accepted_at, j.id) as turn
    from t cross join lateral (
        select id, accepted_at from jobs
        where state = 'accepted' and document = $1 and class = $2 and tenant_id = t.tenant_id
        order by accepted_at, id limit $4) j
    where t.tenant_id <> all ($6::text[])),
picked as (
    select j.id from waiting w join jobs j using (id)
    where j.state = 'accepted'
    order by w.turn, w.k
    limit $4
    for no key update of j skip locked)
update jobs j
set state = 'planning', plan_attempts = j.plan_attempts + 1, version = j.version + 1
from picked p
where j.id = p.id
returning j.id, j.num, j.tenant_id, j.class, j.spec, coalesce(j.source_key, ''), coalesce(j.source_etag, ''), j.plan_attempts,
    coalesce((select u.object_key from uploads u where u.id = j.spec #>> '{output,metadata,cover}' and u.tenant_id = j.tenant_id), ''),
    j.version, j.priority, j.deadline, j.accepted_at, (select weight from tenants t where t.id = j.tenant_id);

-- name: ClaimAgain
update jobs j set plan_attempts = j.plan_attempts + 1
where j.id = $1 and j.state = 'planning'
returning j.id, j.num, j.tenant_id, j.class, j.spec, coalesce(j.source_key, ''), coalesce(j.source_etag, ''), j.plan_attempts,
    coalesce((select u.object_key from uploads u where u.id = j.spec #>> '{output,metadata,cover}' and u.tenant_id = j.tenant_id), ''),
    j.version, j.priority, j.deadline, j.accepted_at, (select weight from tenants t where t.id = j.tenant_id);

-- name: RefundPlanAttempt
update jobs set plan_attempts = greatest(plan_attempts - 1, 0) where id = any ($1::text[]) and state = 'planning';

-- name: InterruptedPlans
select id, plan_attempts from jobs
where state = 'planning' and finished_at is null and document = $1
order by accepted_at;

-- name: LockPlanning
select id, tenant_id, spec -> 'callback' from jobs where id = $1 and state = 'planning' for no key update;

-- name: FailPlan
update jobs
set state = 'failed', finished_at = clock_timestamp(), error_kind = $2, error_detail = $3, version = version + 1
where id = $1 and state = 'planning'
returning id, version;

-- name: DropBlocksOf
delete from blocks where job = (select num from jobs where id = $1);

-- name: Voices
-- Every voice, and whether it is offered no longer: nobody has had it for a week.
with gone as (
    select p.pool from (select distinct pool from voices) p cross join lateral pool_waiting(p.pool) w
    where w.reason = 'gone' and w.since <= now() - interval '7 days')
select name, pool, language, engine, sample_rate, is_default, instructions, pool in (select pool from gone) from voices order by name;

-- name: RenditionsOf
-- Audio that need not be made again, noted as used today: it stays while a job that
-- was accepted today or before is open. One that is evicted at this moment is not there.
with old as materialized (
    select key from renditions where key = any ($1::bytea[]) and used_on < (now() at time zone 'utc')::date
    order by key for no key update),
touched as (
    update renditions r set used_on = (now() at time zone 'utc')::date from old where r.key = old.key
    returning r.key, samples, sample_rate, hearing is not null as heard)
select key, samples::double precision / sample_rate, hearing is not null from renditions
where key = any ($1::bytea[]) and used_on >= (now() at time zone 'utc')::date
union all
select key, samples::double precision / sample_rate, heard from touched;

-- name: FencePlans
-- The jobs that are still planned under these attempts; they stay so until the
-- transaction ends. One that is to be cancelled is planned no further, so that its
-- cancel comes to the row.
select j.num
from unnest($1::bigint[], $2::int[]) as p (num, attempt)
         join jobs j on j.num = p.num
where j.state = 'planning' and j.plan_attempts = p.attempt
  and not exists (select from cancellations c where c.job_id = j.id and c.tenant_id = j.tenant_id)
order by j.id
for share of j;

-- name: LockPlans
select j.num
from unnest($1::bigint[], $2::int[]) as p (num, attempt)
         join jobs j on j.num = p.num
where j.state = 'planning' and j.plan_attempts = p.attempt
  and not exists (select from cancellations c where c.job_id = j.id and c.tenant_id = j.tenant_id)
order by j.id
for update of j;

-- name: HoldPlans
-- LockPlans for all or nothing: fails with VM002 if one of the jobs is not planned
-- under its attempt any more, or is to be cancelled.
select hold_plans($1::bigint[], $2::int[]);

-- name: InsertBlock
insert into blocks (job, b, chapters, texts, voices, languages, pools, pronunciations, instructions, documents, starts, ends,
                    breaks, seconds, rates, keys, turns, reused)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18);

-- name: DropBlocks
-- What an attempt that came to nothing has left.
delete from blocks where job = any ($1::bigint[]);

-- name: CountBlocks
select job, count(*) from blocks where job = any ($1::bigint[]) group by job;

-- name: InsertChapters
insert into chapters (job_id, ordinal, title, matter, state, first_segment, segments_total, segments_done, plan_digest)
select c.job_id, c.ordinal, c.title, c.matter, 'pending', c.first_segment, c.segments_total, c.segments_done, c.plan_digest
from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::bytea[])
         as c (job_id, ordinal, title, matter, first_segment, segments_total, segments_done, plan_digest);

-- name: InsertQueues
insert into queues (job, pool, seconds, held)
select q.job, q.pool, q.seconds, j.paused_at is not null
from unnest($1::bigint[], $2::text[], $3::real[]) as q (job, pool, seconds) join jobs j on j.num = q.job;

-- name: QueueJobs
-- The text is in the blocks from now on, and no more in the request.
update jobs j
set spec = j.spec #- '{input,text}' #- '{input,segments}', state = 'queued', version = j.version + 1,
    title = p.title, author = p.author, about = p.about::jsonb, language = p.language,
    segments_total = p.segments, chapters_total = p.chapters, characters = p.characters,
    predicted_seconds = p.predicted, plan_digest = p.digest,
    source_sha256 = p.source, source_bytes = case when p.source is not null then p.bytes end,
    segments_reused = p.reused, done_seconds = p.done, audio_seconds = p.audio, reused_seconds = p.audio
from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bigint[], $7::double precision[], $8::bytea[],
            $9::int[], $10::double precision[], $11::double precision[], $12::text[], $13::bytea[], $14::bigint[], $15::text[])
         as p (id, title, language, segments, chapters, characters, predicted, digest, reused, done, audio, author, source, bytes, about)
where j.id = p.id and j.state = 'planning'
returning j.id, j.version;

-- name: InsertCovers
insert into artifacts (job_id, name, media_type, object_key, bytes, sha256)
select c.job_id, c.name, c.media_type, c.object_key, c.bytes, c.sha256
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[]) as c (job_id, name, media_type, object_key, bytes, sha256);

-- name: AdvanceJobs
select count(advance_job(id)) from unnest($1::text[]) as id;

-- name: JobVersions
select id, version from jobs where id = any ($1::text[]);
