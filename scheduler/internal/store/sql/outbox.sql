-- name: OutboxAfter
-- A page of what is due for joining or encoding or was let out, by primary key.
select o.id, j.id, j.num, o.ordinal, o.kind = 'encode', o.attempt, j.tenant_id, t.weight, j.class, j.priority, j.deadline, j.accepted_at,
       o.released_at is not null,
       case when o.kind = 'finish' then 1
            when c.ordinal is null then greatest(j.predicted_seconds, 1)
            else greatest(j.predicted_seconds * c.segments_total / greatest(j.segments_total, 1), 1) end
from (select * from outbox where id > $1 and parked_at is null and not_before <= clock_timestamp() order by id limit $2) o
         cross join lateral (select * from jobs where id = o.job_id offset 0) j
         cross join lateral (select weight from tenants where id = j.tenant_id offset 0) t
         left join lateral (select ordinal, segments_total from chapters where job_id = o.job_id and chapters.ordinal = o.ordinal offset 0) c on true
where j.finished_at is null
order by o.id;

-- name: ReleaseOutbox
update outbox o set released_at = clock_timestamp(), attempt = o.attempt + 1
from unnest($1::bigint[], $2::int[]) as i (id, attempt)
where o.id = i.id and o.attempt = i.attempt and o.released_at is null and o.parked_at is null
returning o.id, o.attempt;

-- name: OutboxOut
-- Which of these are still out.
select id, attempt from outbox where id = any ($1::bigint[]) and released_at is not null and parked_at is null;
