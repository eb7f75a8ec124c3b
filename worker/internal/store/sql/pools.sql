-- name: PutPools
-- How the pools of a worker are. Rows of workers that were not heard of for long go,
-- but for those of pools that nobody serves any more.
with a as (
    select * from unnest($2::text[], $3::float8[], $4::text[]) as a (pool, waited, reason)),
gone as (
    delete from pool_workers w using a
    where w.pool = a.pool and w.worker <> $1 and w.seen_at < now() - interval '1 hour')
insert into pool_workers (pool, worker, waiting_since, waiting_reason)
select pool, $1, case when reason <> '' then now() - make_interval(secs => waited) end, nullif(reason, '') from a
on conflict (pool, worker) do update
set seen_at = now(), waiting_reason = excluded.waiting_reason,
    waiting_since = case when excluded.waiting_since is not null then coalesce(pool_workers.waiting_since, excluded.waiting_since) end;
