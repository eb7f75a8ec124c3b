-- name: LockJob
select num, state, class, coalesce(spec -> 'callback', 'null'::jsonb) from jobs where id = $1 and tenant_id = $2 for update;

-- name: BoundRow
-- Whoever stores a long plan locks the job's row again and again, and may do so
-- before a cancel that waits is awake.
set local lock_timeout = '3s';

-- name: BoundWaits
-- Whoever stores jobs of the same bucket queues behind a cancel that waits: a
-- second is enough for a healthy scheduler, and little for the others if one
-- stands still. It ends with the transaction.
set local lock_timeout = '1s';

-- name: LockArrival
select lock_arrival($1);

-- name: CancelEarly
-- The wish: who stores the job, or its plan, finds it, and the scheduler cancels
-- every open job of which there is one.
insert into cancellations (job_id, tenant_id) values ($1, $2) on conflict (job_id) do nothing;

-- name: DropWork
select drop_work($1);

-- name: CancelJob
update jobs set state = 'cancelled', version = version + 1, finished_at = clock_timestamp()
where id = $1 and finished_at is null
returning version;

-- name: InsertDelivery
insert into deliveries (id, tenant_id, job_id, event, url, payload) values ($1, $2, $3, $4, $5, '')
on conflict (job_id, event, ordinal) do nothing;
