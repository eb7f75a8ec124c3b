-- name: DeleteIdempotencyKeys
-- The age stands twice: for a row that is claimed anew meanwhile, Postgres
-- checks the outer condition again and not the inner one. The other kinds never
-- grow young again.
delete from idempotency_keys
where created_at < now() - make_interval(secs => $1)
  and (tenant_id, key) in (select tenant_id, key from idempotency_keys
                           where created_at < now() - make_interval(secs => $1)
                           order by created_at limit $2);

-- name: DeleteCancellations
delete from cancellations
where job_id in (select job_id from cancellations
                 where created_at < now() - make_interval(secs => $1)
                 order by created_at limit $2);

-- name: DeleteSettledCancellations
delete from cancellations
where job_id in (select c.job_id from cancellations c join jobs j on j.id = c.job_id
                 where j.finished_at < now() - make_interval(secs => $1)
                 limit $2);

-- name: DeleteFinishedOutbox
-- What was due of a job that ended otherwise is due no more.
delete from outbox
where id in (select o.id from outbox o join jobs j on j.id = o.job_id
             where j.finished_at < now() - make_interval(secs => $1)
             limit $2);

-- name: ExpiredUploads
-- The document of a job stays, and counts, as long as the job has its text; its cover
-- until the job is planned.
select u.id, u.object_key
from uploads u
where u.expires_at < now() - make_interval(secs => $1) and not exists (select from jobs where source_key = u.object_key)
    and not exists (select from jobs where state in ('accepted', 'planning') and finished_at is null
        and spec #>> '{output,metadata,cover}' = u.id)
order by u.expires_at
limit $2;

-- name: DeleteUploads
delete from uploads where id = any ($1::text[]);

-- name: DeleteTombstones
delete from tombstones
where job_id in (select job_id from tombstones
                 where created_at < now() - make_interval(secs => $1)
                 order by created_at limit $2);

-- name: DeleteGarbage
-- What is gone for so long that nobody makes a row of its name any more.
delete from garbage
where object_key in (select object_key from garbage
                     where gone_at < now() - make_interval(secs => $1)
                     order by gone_at limit $2);

-- name: DeleteReservations
delete from reservations
where job_id in (select job_id from reservations where created_at < now() - make_interval(secs => $1) limit $2);
