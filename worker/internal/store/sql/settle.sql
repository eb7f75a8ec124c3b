-- Bundles that a worker takes, and what becomes of their segments. A bundle is
-- named by (job, n, attempt), which is the fence of every write: whoever comes
-- late finds no row, or no bit, and changes nothing.

-- name: Claim
-- Notes that deliveries begin, and tells what is left of each bundle, and which of
-- that has a rendition already. A message that WORK delivers for the first time is
-- no sign that somebody died with it, whatever began before WORK was lost. Suspects
-- begin with their engine call.
with a as (
    select * from unnest($1::bigint[], $2::int[], $3::int[], $4::boolean[]) as a (job, n, attempt, again)),
l as materialized (
    select o.job, o.n, o.attempt, a.again
    from (select * from a order by job, n, attempt) a
             cross join lateral (select * from outstanding o
                                 where o.job = a.job and o.n = a.n and o.attempt = a.attempt for update) o),
k as materialized (
    select k.job, k.b, k.attempt, bit_or(1::bigint << ((k.n - 1) % 64)) as bits
    from unnest($5::bigint[], $6::int[], $7::int[], $8::int[], $9::bytea[]) as k (job, b, attempt, n, key)
             cross join lateral (select r.key from renditions r where r.key = k.key offset 0) r
    group by k.job, k.b, k.attempt),
u as (
    update outstanding o
    set started = case when l.again then o.started else 0 end + case when o.deaths < 2 then 1 else 0 end
    from l
    where o.job = l.job and o.n = l.n and o.attempt = l.attempt
    returning o.job, o.n, o.attempt, o.mask, o.deaths, o.started - case when o.deaths < 2 then 1 else 0 end as died)
select u.job, u.n, u.attempt, u.mask, u.deaths, u.died, coalesce(k.bits, 0)
from u left join k on k.job = u.job and k.b = u.n and k.attempt = u.attempt;

-- name: Return
-- Takes back what Claim or Begin noted: the deliveries ended in good order.
update outstanding o set started = greatest(o.started - 1, 0)
from (select distinct job, n, attempt from unnest($1::bigint[], $2::int[], $3::int[]) as a (job, n, attempt) order by 1, 2, 3) a
where o.job = a.job and o.n = a.n and o.attempt = a.attempt;

-- name: Begin
-- Which of the segments of an engine call are still wanted, and which of those
-- have a rendition already: Claim knew that a while ago. The delivery of a suspect
-- begins here.
with a as (
    select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bytea[]) with ordinality as a (job, b, attempt, n, key, i)),
s as (
    update outstanding o set started = o.started + 1
    from (select distinct job, b, attempt from a) k
    where o.job = k.job and o.n = k.b and o.attempt = k.attempt and o.deaths >= 2)
select a.i::int, r.key is not null, coalesce(r.suffix, ''), coalesce(r.heard, false)
from a join outstanding o on o.job = a.job and o.n = a.b and o.attempt = a.attempt
       left join lateral (select r.key, r.suffix, r.hearing is not null as heard from renditions r where r.key = a.key offset 0) r on true
where o.mask >> ((a.n - 1) % 64) & 1 = 1;

-- name: PutHearing
-- What was heard of a rendition that was there before. What is known of it stays.
update renditions set hearing = $3 where key = $1 and suffix = $2 and hearing is null;

-- name: LockJobs
select from jobs where num = any ($1::bigint[]) order by id for update;

-- name: AddRenditions
-- Fails if one of them is there already: most never are, and to find that out
-- costs a third of the statement and of its WAL. See AddMissingRenditions.
insert into renditions (key, tenant, suffix, sample_rate, samples, bytes, sha256, verdict, marks, lufs, rms, true_peak, lead_samples, tail_samples, hearing)
select r.key, t.num, r.suffix, r.sample_rate, r.samples, r.bytes, r.sha256, nullif(r.verdict, ''), r.marks::jsonb, r.lufs, r.rms, r.true_peak, r.lead, r.tail, r.hearing::jsonb
from unnest($1::bytea[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::bytea[], $8::text[], $9::text[],
        $10::real[], $11::real[], $12::real[], $13::int[], $14::int[], $15::text[])
    as r (key, tenant, suffix, sample_rate, samples, bytes, sha256, verdict, marks, lufs, rms, true_peak, lead, tail, hearing) join tenants t on t.id = r.tenant
order by r.key;

-- name: AddMissingRenditions
-- The first of a key stays. The object of another that has a name of its own goes.
with r as materialized (
    select * from unnest($1::bytea[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::bytea[], $8::text[], $9::text[],
        $10::real[], $11::real[], $12::real[], $13::int[], $14::int[], $15::text[])
        as r (key, tenant, suffix, sample_rate, samples, bytes, sha256, verdict, marks, lufs, rms, true_peak, lead, tail, hearing)),
added as (
    insert into renditions (key, tenant, suffix, sample_rate, samples, bytes, sha256, verdict, marks, lufs, rms, true_peak, lead_samples, tail_samples, hearing)
    select r.key, t.num, r.suffix, r.sample_rate, r.samples, r.bytes, r.sha256, nullif(r.verdict, ''), r.marks::jsonb, r.lufs, r.rms, r.true_peak, r.lead, r.tail, r.hearing::jsonb
    from r join tenants t on t.id = r.tenant
    order by r.key
    on conflict (key) do nothing
    returning key, suffix)
select drop_object(rendition_object(r.tenant, r.key, r.suffix))
from r
where not exists (select from added a where a.key = r.key and a.suffix = r.suffix)
  and not exists (select from renditions o where o.key = r.key and o.suffix = r.suffix);

-- name: IsDiscarded
-- Whether an object is about to go, or is gone since a short time.
select exists (select from garbage where object_key = $1);

-- name: Settle
-- What became of segments, all in one: their bits go, what comes again and what
-- is to be remembered gets its row, chapters and jobs count. The jobs are locked.
-- The audio ($13, in seconds) is known of renditions that were just added; of
-- all others it is looked up, and what has none does not count as done.
with o as (
    select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::int[], $6::text[], $7::bytea[], $8::float8[],
            $9::float8[], $10::float8[], $11::text[], $12::text[], $13::float8[])
        with ordinality as o (job, b, attempt, n, chapter, state, key, seconds, gpu_seconds, delay, kind, detail, added, i)),
held as materialized (
    select t.*
    from (select distinct job, b, attempt from o order by 1, 2, 3) k
             cross join lateral (select t.job, t.n as b, t.attempt, t.spared, t.mask, t.pool, t.solo, t.deaths + greatest(t.started - 1, 0) as deaths
                                 from outstanding t
                                 where t.job = k.job and t.n = k.b and t.attempt = k.attempt for update) t),
a as materialized ( -- what counts: the first outcome of each segment whose bit is set
    select distinct on (o.job, o.n) o.job, o.b, o.attempt, o.n, o.chapter, o.state, o.seconds, o.gpu_seconds, o.delay, o.kind, o.detail, o.i,
        h.pool, h.spared, h.deaths, coalesce(o.added, r.audio) as audio
    from o
             join held h on h.job = o.job and h.b = o.b and h.attempt = o.attempt
             left join lateral (select r.samples::float8 / r.sample_rate as audio from renditions r
                                where o.added is null and o.state = 'done' and r.key = o.key offset 0) r on true
    where h.mask >> ((o.n - 1) % 64) & 1 = 1 and (o.state <> 'done' or coalesce(o.added, r.audio) is not null)
    order by o.job, o.n, o.i),
bits as (
    select job, b, attempt, bit_or(1::bigint << ((n - 1) % 64)) as bits from a group by job, b, attempt),
cleared as (
    update outstanding t set mask = t.mask & ~x.bits from bits x
    where t.job = x.job and t.n = x.b and t.attempt = x.attempt and t.mask & ~x.bits <> 0),
emptied as (
    delete from outstanding t using bits x
    where t.job = x.job and t.n = x.b and t.attempt = x.attempt and t.mask & ~x.bits = 0),
again as ( -- an attempt that failed is charged, one that its worker did not survive is not
    insert into retries (job, n, pool, attempts, spared, deaths, solo, not_before, error_kind, error_detail)
    select job, n, pool, case when state = 'died' then attempt - 1 else attempt end, spared, deaths, true,
        clock_timestamp() + make_interval(secs => delay), kind, detail
    from a where state in ('pending', 'died')
    on conflict (job, n) do nothing),
remembered as (
    insert into exceptions (job, n, state, attempts, error_kind, error_detail)
    select job, n, state, attempt, nullif(kind, ''), nullif(detail, '')
    from a where state = 'failed' or state = 'done' and attempt > 1
    on conflict (job, n) do update
    set state = excluded.state, attempts = excluded.attempts, error_kind = excluded.error_kind, error_detail = excluded.error_detail),
c as (
    update chapters c set segments_done = c.segments_done + x.done, segments_failed = c.segments_failed + x.failed
    from (select job, chapter, (count(*) filter (where state = 'done'))::int as done, (count(*) filter (where state = 'failed'))::int as failed
          from a group by job, chapter) x
             cross join lateral (select id from jobs where num = x.job offset 0) j
    where c.job_id = j.id and c.ordinal = x.chapter and x.done + x.failed > 0),
j as (
    update jobs j
    set segments_done = j.segments_done + x.done, segments_failed = j.segments_failed + x.failed, done_seconds = j.done_seconds + x.seconds,
        audio_seconds = j.audio_seconds + x.audio, gpu_seconds = j.gpu_seconds + x.gpu_seconds, version = j.version + 1
    from (select job, (count(*) filter (where state = 'done'))::int as done, (count(*) filter (where state = 'failed'))::int as failed,
              coalesce(sum(seconds) filter (where state in ('done', 'failed')), 0) as seconds,
              coalesce(sum(audio) filter (where state = 'done'), 0) as audio, sum(gpu_seconds) as gpu_seconds
          from a group by job) x
    where j.num = x.job)
select i::int, coalesce(audio, 0) from a;

-- name: AdvanceJobs
-- Only jobs with a chapter that has become complete, among those that were touched.
select advance_job(j.id)
from (select distinct k.job
      from (select distinct job, chapter from unnest($1::bigint[], $2::int[]) as k (job, chapter)) k
               cross join lateral (select id from jobs where num = k.job offset 0) i
               cross join lateral (select from chapters c
                                   where c.job_id = i.id and c.ordinal = k.chapter and c.state = 'pending'
                                       and c.segments_done + c.segments_failed = c.segments_total offset 0) c) k
         join jobs j on j.num = k.job
order by j.id;

-- name: JobVersions
select num, id, version, segments_total = 1 and state = 'assembling' from jobs where num = any ($1::bigint[]);

-- name: JobVersion
select version from jobs where id = $1;
