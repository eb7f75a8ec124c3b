-- What the leader's loop reads and writes. Whatever it writes goes in one batch
-- that begins with HoldLease.

-- name: HoldLease
select hold_lease($1, $2);

-- The pages of what waits and of what is out look up each row's job, tenant and
-- block by key, whatever the planner thinks that there are: offset 0 keeps it from
-- reading all of them.

-- name: QueuesAfter
-- A page of what waits to be released for the first time, by primary key.
select q.job, q.pool, q.next, q.seconds, j.id, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at,
       j.segments_total, j.state = 'queued'
from (select job, pool, next, seconds from queues
      where not closed and not held and (job, pool) > ($1, $2) order by job, pool limit $3) q
         cross join lateral (select * from jobs where num = q.job offset 0) j
         cross join lateral (select weight from tenants where id = j.tenant_id offset 0) t
order by q.job, q.pool;

-- name: QueuesOf
select q.job, q.pool, q.next, q.seconds, j.id, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at,
       j.segments_total, j.state = 'queued'
from jobs j
         join queues q on q.job = j.num and not q.closed and not q.held
         join tenants t on t.id = j.tenant_id
where j.id = any ($1::text[]);

-- name: RetriesAfter
-- A page of what is due again, by (not_before, job, n).
select r.job, r.n, r.pool, r.attempts, r.spared, r.deaths, r.solo, r.not_before, b.seconds[(r.n - 1) % 64 + 1],
       substr(b.keys, 32 * ((r.n - 1) % 64) + 1, 32), j.id, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at
from (select * from retries
      where not_before <= clock_timestamp() and (not_before, job, n) > ($1::timestamptz, $2::bigint, $3::int)
      order by not_before, job, n limit $4) r
         cross join lateral (select * from jobs where num = r.job offset 0) j
         cross join lateral (select weight from tenants where id = j.tenant_id offset 0) t
         cross join lateral (select seconds, keys from blocks where blocks.job = r.job and blocks.b = (r.n - 1) / 64 offset 0) b
where j.finished_at is null and j.paused_at is null
order by r.not_before, r.job, r.n;

-- name: RetriesOf
-- What of some jobs is due again.
select r.job, r.n, r.pool, r.attempts, r.spared, r.deaths, r.solo, r.not_before, b.seconds[(r.n - 1) % 64 + 1],
       substr(b.keys, 32 * ((r.n - 1) % 64) + 1, 32), j.id, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at
from (select * from retries where job = any ($1::bigint[]) and not_before <= clock_timestamp() order by job, n limit $2) r
         cross join lateral (select * from jobs where num = r.job offset 0) j
         cross join lateral (select weight from tenants where id = j.tenant_id offset 0) t
         cross join lateral (select seconds, keys from blocks where blocks.job = r.job and blocks.b = (r.n - 1) / 64 offset 0) b
where j.finished_at is null and j.paused_at is null
order by r.job, r.n;

-- name: Changes
-- Jobs that commands have changed, the oldest first.
select c.id, c.recalled, j.num, j.id, j.version, j.state
from (select * from job_changes order by id limit $1) c cross join lateral (select num, id, version, state from jobs where num = c.job offset 0) j
order by c.id;

-- name: ForgetChanges
delete from job_changes where id = any ($1::bigint[]);

-- name: Blocks
select b.job, b.b, b.chapters, b.texts, b.voices, b.languages, b.pools, b.pronunciations, b.instructions, b.breaks, b.seconds, b.rates,
       b.keys, b.turns, b.reused,
       (select json_agg(json_build_object('n', d.n, 'seed', d.seed, 'spoken', d.spoken)) from redos d
        where d.job = b.job and d.n between 64 * b.b + 1 and 64 * b.b + 64)
from unnest($1::bigint[], $2::int[]) as i (job, b)
         cross join lateral (select * from blocks where blocks.job = i.job and blocks.b = i.b) b;

-- name: Terms
-- What every segment of a job has in common; read once a job, since the request may be long.
select num, coalesce((spec ->> 'speed')::double precision, 1), coalesce((spec ->> 'seed')::bigint, 0), coalesce(spec ->> 'instructions', ''), spec -> 'callback',
       coalesce(nullif(spec ->> 'verify', 'none'), ''), coalesce(nullif(spec ->> 'on_doubt', 'retry'), '')
from jobs where num = any ($1::bigint[]);

-- name: StartJobs
-- Jobs whose first segments go out. Who asked for it is told: $2 to $4 are a
-- delivery for each that did.
with locked as materialized (
    select id, num from jobs where num = any ($1::bigint[]) and state = 'queued' and paused_at is null order by id for no key update),
started as (
    update jobs j set state = 'running', started_at = coalesce(j.started_at, clock_timestamp()), version = j.version + 1
    from locked l where j.id = l.id
    returning j.id, j.num, j.tenant_id, j.version),
told as (
    insert into deliveries (id, tenant_id, job_id, event, url, payload)
    select d.id, s.tenant_id, s.id, $5, d.url, ''
    from unnest($2::text[], $3::bigint[], $4::text[]) as d (id, job, url) join started s on s.num = d.job
    on conflict (job_id, event, ordinal) do nothing)
select id, version from started;

-- name: ReleaseBundles
-- Moves the cursors of queues ($1 to $6) and notes the bundles that go out
-- ($7 to $11) and the segments that come later ($12 to $15), unless the cursor
-- is not where it was, or the job was cancelled or paused. Returns the queues that moved.
with m as (
    select * from unnest($1::bigint[], $2::text[], $3::int[], $4::int[], $5::real[], $6::boolean[]) as m (job, pool, prev, next, seconds, ends)),
moved as (
    update queues q set next = m.next, seconds = greatest(q.seconds - m.seconds, 0)
    from m where q.job = m.job and q.pool = m.pool and q.next = m.prev and not q.closed and not q.held and not m.ends
    returning q.job, q.pool),
ended as (
    delete from queues q
    using m where q.job = m.job and q.pool = m.pool and q.next = m.prev and not q.closed and not q.held and m.ends
    returning q.job, q.pool),
went as (
    select job, pool from moved union all select job, pool from ended),
out as (
    insert into outstanding (job, n, attempt, pool, mask, seconds)
    select b.job, b.n, 1, b.pool, b.mask, b.seconds
    from unnest($7::bigint[], $8::text[], $9::int[], $10::bigint[], $11::real[]) as b (job, pool, n, mask, seconds)
             join went w on w.job = b.job and w.pool = b.pool),
later as (
    insert into retries (job, n, pool, not_before)
    select d.job, d.n, d.pool, clock_timestamp() + make_interval(secs => $15)
    from unnest($12::bigint[], $13::text[], $14::int[]) as d (job, pool, n)
             join went w on w.job = d.job and w.pool = d.pool
    on conflict (job, n) do nothing)
select job, pool from went;

-- name: ReleaseRetries
-- Segments that come again go out, each by itself. One whose former bundle is
-- still out under the same name waits. The jobs are locked against a cancel and
-- a pause, which would not see the new row.
with open as materialized (
    select num from jobs where num = any ($1::bigint[]) and finished_at is null and paused_at is null order by id for share),
gone as (
    delete from retries r
    using unnest($1::bigint[], $2::int[], $3::smallint[], $4::real[]) as i (job, n, attempts, seconds), open
    where open.num = r.job and r.job = i.job and r.n = i.n and r.attempts = i.attempts
      and not exists (select from outstanding o where o.job = r.job and o.n = r.n and o.attempt = r.attempts + 1)
    returning r.job, r.n, r.pool, r.attempts, r.spared, r.deaths, r.solo, i.seconds)
insert into outstanding (job, n, attempt, pool, mask, seconds, solo, deaths, spared)
select job, n, attempts + 1, pool, 1::bigint << ((n - 1) % 64), seconds, solo, deaths, spared from gone
returning job, n;

-- name: SaveVirtualTimes
insert into virtual_times (pool, class, tenant, value)
select * from unnest($1::text[], $2::text[], $3::text[], $4::double precision[])
on conflict (pool, class, tenant) do update set value = excluded.value;

-- name: VirtualTimes
select pool, class, tenant, value from virtual_times;

-- name: ForgetVirtualTimes
-- Tenants that are not heard of start at the system's time anyway.
delete from virtual_times v using unnest($1::text[], $2::text[], $3::text[]) as d (pool, class, tenant)
where v.pool = d.pool and v.class = d.class and v.tenant = d.tenant;

-- name: Outstanding
-- All that is out, read whole: it is never much.
select job, n, attempt, mask from outstanding;

-- name: OutstandingAfter
-- A page of what is out, by primary key, with all that its messages need.
select o.job, o.n, o.attempt, o.spared, o.pool, o.mask, o.seconds, o.solo, extract(epoch from clock_timestamp() - o.released_at)::double precision,
       coalesce(j.id, ''), coalesce(j.tenant_id, ''), coalesce(t.weight, 1), coalesce(j.class, ''), j.finished_at is null and j.id is not null
from (select * from outstanding where (job, n, attempt) > ($1, $2, $3::smallint) order by job, n, attempt limit $4) o
         left join lateral (select * from jobs where num = o.job offset 0) j on true
         left join lateral (select weight from tenants where id = j.tenant_id offset 0) t on true
order by o.job, o.n, o.attempt;

-- name: DropOutstanding
-- What nobody waits for: its job has ended or is gone.
delete from outstanding o using unnest($1::bigint[], $2::int[], $3::smallint[]) as d (job, n, attempt)
where o.job = d.job and o.n = d.n and o.attempt = d.attempt
  and not exists (select from jobs j where j.num = o.job and j.finished_at is null);

-- name: SplitBundle
-- A bundle that cannot travel as one message: each of its segments comes by itself.
with gone as (
    delete from outstanding where job = $1 and n = $2 and attempt = $3 returning job, n, pool, mask, attempt, spared, deaths)
insert into retries (job, n, pool, attempts, spared, deaths, solo)
select g.job, g.n - (g.n - 1) % 64 + i, g.pool, g.attempt - 1, g.spared, g.deaths, true
from gone g cross join generate_series(0, 63) as i
where g.mask >> i & 1 = 1
on conflict (job, n) do nothing;

-- name: LockOpenJob
select id, version from jobs where num = $1 and finished_at is null for update;

-- name: FailSegment
-- A segment that cannot be released whatever is tried.
with gone as (
    delete from outstanding where job = $1 and n = $2 and attempt = $3 and exists (select from jobs where num = $1 and finished_at is null)
    returning job, n, attempt),
remembered as (
    insert into exceptions (job, n, state, attempts, error_kind, error_detail)
    select job, n, 'failed', attempt, $6, $7 from gone
    on conflict (job, n) do update set state = 'failed', attempts = excluded.attempts, error_kind = excluded.error_kind, error_detail = excluded.error_detail),
c as (
    update chapters c set segments_failed = c.segments_failed + 1
    from gone, jobs j where j.num = gone.job and c.job_id = j.id and c.ordinal = $4)
update jobs j set segments_failed = j.segments_failed + 1, done_seconds = j.done_seconds + $5, version = j.version + 1
from gone where j.num = gone.job;

-- name: AdvanceNum
select advance_job(id) from jobs where num = $1;

-- name: VersionOf
select id, version from jobs where num = $1;
