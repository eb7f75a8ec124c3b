-- name: LockArrivals
select lock_arrivals($1::text[]);

-- name: InsertJobs
-- A job whose cancel came first is stored cancelled, and who asked for it is told: $18
-- to $20 are a delivery for each that did. One that is there already, or was deleted,
-- is left alone. From now on the rows of the jobs say what they take of a quota.
with stored as (
    insert into jobs (id, tenant_id, class, priority, deadline, state, spec, labels, on_failure, language,
                      source_key, source_etag, request_id, traceparent, tracestate, accepted_at, key_id, asked, finished_at)
    select i.id, i.tenant_id, i.class, i.priority, i.deadline,
           case when c.job_id is null then 'accepted' else 'cancelled' end,
           i.spec::jsonb, i.labels::jsonb, i.on_failure, i.language,
           i.source_key, i.source_etag, i.request_id, i.traceparent, i.tracestate, i.accepted_at, i.key_id, i.asked,
           case when c.job_id is null then null else clock_timestamp() end
    from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[],
                $16::text[], $17::bigint[])
             as i (id, tenant_id, class, priority, deadline, spec, labels, on_failure,
                   language, source_key, source_etag, request_id, traceparent, tracestate, accepted_at, key_id, asked)
             left join cancellations c on c.job_id = i.id and c.tenant_id = i.tenant_id
    where not exists (select from tombstones d where d.job_id = i.id and d.tenant_id = i.tenant_id)
    order by i.id
    on conflict (id) do nothing
    returning id, tenant_id, state, version),
told as (
    insert into deliveries (id, tenant_id, job_id, event, url, payload)
    select d.id, s.tenant_id, s.id, $21, d.url, ''
    from unnest($18::text[], $19::text[], $20::text[]) as d (id, job, url) join stored s on s.id = d.job
    where s.state = 'cancelled'
    on conflict (job_id, event, ordinal) do nothing),
taken as (
    delete from reservations where job_id = any ($1::text[]))
select id, state, version from stored;

-- name: InsertDelivery
insert into deliveries (id, tenant_id, job_id, event, url, payload)
values ($1, $2, $3, $4, $5, '')
on conflict (job_id, event, ordinal) do nothing;

-- name: InsertBrokenJob
-- What could not be stored as it came: the row says so, with nothing of it that may be at fault.
-- One whose cancel came first is cancelled, as its owner was told.
insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, finished_at, error_kind, error_detail)
select $1::text, $2::text, 'bulk', case when cancelled then 'cancelled' else 'failed' end, '{}', 'fail', $3::timestamptz,
       clock_timestamp(), case when not cancelled then 'internal' end, case when not cancelled then $4::text end
from (select exists (select 1 from cancellations where job_id = $1::text and tenant_id = $2::text)) as c (cancelled)
where not exists (select from tombstones where job_id = $1::text and tenant_id = $2::text)
on conflict (id) do nothing
returning id, state, version;

-- name: LockLateCancels
-- A cancel that was stored while the job was on its way from JOBS to its row,
-- by a program older than lock_arrivals: with it, one always sees the other.
select j.id, j.tenant_id, j.spec -> 'callback'
from cancellations c
         join jobs j on j.id = c.job_id and j.tenant_id = c.tenant_id
where j.finished_at is null
order by j.id
limit $1
for no key update of j;

-- name: DropWork
select count(drop_work(num)) from jobs where id = any ($1::text[]);

-- name: CancelJobs
update jobs set state = 'cancelled', finished_at = clock_timestamp(), version = version + 1
where id = any ($1::text[]) and finished_at is null
returning id, version;
