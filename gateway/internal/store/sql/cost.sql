-- name: PoolsNow
-- How fast pools are and what waits in them for a class ($2): of the tenant ($1)
-- itself, of others of that class with their number, of the other class, and what
-- is out. A pool that no worker has told of has no speed.
with w as (
    select q.pool, j.tenant_id, j.class, sum(q.seconds) as seconds
    from queues q join jobs j on j.num = q.job
    where q.pool = any ($3::text[]) and not q.closed and not q.held
    group by 1, 2, 3)
select p.pool, coalesce(s.audio, 0),
       (select count(*) from pool_workers k where k.pool = p.pool and k.seen_at > now() - interval '30 seconds' and k.waiting_since is null),
       coalesce((select sum(seconds) from w where w.pool = p.pool and class = $2 and tenant_id = $1), 0)::double precision,
       coalesce((select sum(seconds) from w where w.pool = p.pool and class = $2 and tenant_id <> $1), 0)::double precision,
       (select count(*) from w where w.pool = p.pool and class = $2 and tenant_id <> $1),
       coalesce((select sum(seconds) from w where w.pool = p.pool and class <> $2), 0)::double precision,
       coalesce((select sum(o.seconds) from outstanding o where o.pool = p.pool), 0)::double precision
from unnest($3::text[]) as p (pool) left join pool_speeds s on s.pool = p.pool;
