-- name: Backlog
-- The audio that is still to be made, whether it was let out or not, and for how
-- long the oldest of it has waited, for every pool that a voice has. What is
-- paused does not count.
select p.pool, c.class, coalesce(sum(w.seconds), 0)::double precision,
       coalesce(extract(epoch from clock_timestamp() - min(w.accepted_at)), 0)::double precision
from (select distinct pool from voices) p
         cross join (values ('interactive'), ('bulk')) as c (class)
         left join (select q.pool, j.class, q.seconds, j.accepted_at from queues q join jobs j on j.num = q.job where not q.closed and not q.held
                    union all
                    select o.pool, j.class, o.seconds, j.accepted_at from outstanding o join jobs j on j.num = o.job
                    union all
                    select r.pool, j.class, b.seconds[(r.n - 1) % 64 + 1], j.accepted_at
                    from retries r join jobs j on j.num = r.job join blocks b on b.job = r.job and b.b = (r.n - 1) / 64
                    where r.not_before < 'infinity') w
                   on w.pool = p.pool and w.class = c.class
group by p.pool, c.class;

-- name: Speeds
select pool, audio, cold_start from pool_speeds;

-- name: SaveSpeeds
-- Where it is off by a twentieth, or was not known.
insert into pool_speeds (pool, audio, cold_start)
select * from unnest($1::text[], $2::double precision[], $3::double precision[]) as s (pool, audio, cold_start)
where s.audio > 0 or s.cold_start > 0
on conflict (pool) do update
set audio = excluded.audio, cold_start = excluded.cold_start, told_at = now()
where abs(excluded.audio - pool_speeds.audio) > 0.05 * pool_speeds.audio or excluded.cold_start <> pool_speeds.cold_start;
