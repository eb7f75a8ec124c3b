-- name: ReadyJobs
-- The head of every tenant's queue: jobs with a segment that may be released now.
select id
from (select j.id,
             row_number() over (partition by j.tenant_id, j.class
                 order by j.priority desc, j.deadline nulls last, j.accepted_at, j.id) as place
      from jobs j
      where j.state in ('queued', 'running') and j.finished_at is null
        and j.segments_done + j.segments_reused + j.segments_failed < j.segments_total
        and exists (select 1 from segments s
                    where s.job_id = j.id and s.state = 'pending' and (s.not_before is null or s.not_before <= now()))) as head
where place <= $1;

-- name: LoadJobs
select j.id, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at,
       coalesce((j.spec ->> 'speed')::double precision, 1), coalesce((j.spec ->> 'seed')::bigint, 0), j.spec -> 'callback',
       array(select distinct s.pool from segments s where s.job_id = j.id and s.state = 'pending')
from jobs j
         join tenants t on t.id = j.tenant_id
where j.id = any ($1::text[]) and j.state in ('queued', 'running');

-- name: PendingSegments
-- The next segments of some jobs, each in one pool, in reading order.
select w.id, s.n, s.chapter, s.attempt, s.voice, s.language, s.text, s.predicted_seconds, s.rendition_key,
       s.pronunciations::text,
       coalesce(s.sample_rate, (select v.sample_rate from voices v where v.name = s.voice), 0), s.pool
from unnest($1::text[], $2::text[]) as w (id, pool)
         cross join lateral (select * from segments
                             where job_id = w.id and state = 'pending' and pool = w.pool
                               and (not_before is null or not_before <= now())
                             order by n limit $3) s
order by w.id, s.n;

-- name: LockOpenJobs
select id, state from jobs
where id = any ($1::text[]) and state in ('queued', 'running')
order by id
for no key update;

-- name: ReleaseSegments
update segments s
set state = 'released', attempt = s.attempt + 1, released_at = now(), not_before = null
from unnest($1::text[], $2::int[]) as p (job_id, n)
where s.job_id = p.job_id and s.n = p.n and s.state = 'pending'
returning s.job_id, s.n, s.attempt;

-- name: StartJobs
update jobs set state = 'running', started_at = clock_timestamp(), version = version + 1
where id = any ($1::text[]) and state = 'queued'
returning id, version;

-- name: SaveVirtualTime
insert into tenant_sched (tenant_id, class, vtime)
select v.tenant_id, v.class, v.vtime from unnest($1::text[], $2::text[], $3::double precision[]) as v (tenant_id, class, vtime)
order by 1, 2
on conflict (tenant_id, class) do update set vtime = excluded.vtime;

-- name: VirtualTimes
select tenant_id, class, vtime from tenant_sched;

-- name: Outstanding
select s.job_id, s.n, s.pool, j.tenant_id, j.class, s.predicted_seconds
from segments s
         join jobs j on j.id = s.job_id
where s.state = 'released';

-- name: Outcomes
select s.job_id, s.n, s.state, coalesce(s.audio_samples::double precision / nullif(s.sample_rate, 0), 0)
from unnest($1::text[], $2::int[]) as p (job_id, n)
         join segments s on s.job_id = p.job_id and s.n = p.n;

-- name: StaleReleases
with stale as materialized (
    select * from segments where state = 'released' and released_at < now() - make_interval(secs => $1)
    order by released_at limit $2),
owners as materialized (
    select j.id, j.tenant_id, j.class, coalesce((j.spec ->> 'speed')::double precision, 1) as speed,
           coalesce((j.spec ->> 'seed')::bigint, 0) as seed
    from jobs j where j.id in (select job_id from stale) and j.finished_at is null)
select s.job_id, s.n, s.chapter, s.attempt, s.voice, s.language, s.text, s.predicted_seconds, s.rendition_key,
       s.pronunciations::text,
       coalesce(s.sample_rate, (select v.sample_rate from voices v where v.name = s.voice), 0), s.pool, o.tenant_id, o.class, o.speed, o.seed
from stale s
         join owners o on o.id = s.job_id
order by s.released_at;

-- name: Backlog
-- The audio that is still to be made, by pool and class. A job counts for the pool of its next segment.
select p.pool, j.class, sum(greatest(j.predicted_seconds - j.done_seconds, 0))
from jobs j
         cross join lateral (select pool from segments where job_id = j.id and state = 'pending' order by n limit 1) p
where j.state in ('queued', 'running') and j.finished_at is null
group by p.pool, j.class;
