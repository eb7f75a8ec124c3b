-- name: ReleaseAssemblies
-- At most $1 assemblies are out at any time.
update outbox o
set released_at = now(), attempt = o.attempt + 1
from (select w.id from outbox w
      where w.released_at is null and w.not_before <= now()
        and exists (select 1 from jobs j where j.id = w.job_id and j.finished_at is null)
      order by w.not_before, w.id
      limit greatest($1 - (select count(*) from outbox where released_at is not null), 0)
      for update skip locked) due
where o.id = due.id
returning o.job_id, o.ordinal, o.attempt;

-- name: StaleAssemblies
select o.job_id, o.ordinal, o.attempt
from outbox o
         join jobs j on j.id = o.job_id and j.finished_at is null
where o.released_at < now() - make_interval(secs => $1)
order by o.released_at
limit $2;
