-- name: ClaimDeliveries
-- The lease ($2 seconds) is the time until another may try the same delivery.
-- What waits for an earlier event of its job is not due: see FreeNextDelivery.
with due as (
    select d.id from deliveries d
    where d.state = 'pending' and d.next_attempt_at <= now()
      and not (lower(substring(d.url from '^[A-Za-z]+://([^/?#]*)')) = any ($3::text[]))
      and d.tenant_id <> all ($4::text[])
    order by d.next_attempt_at, d.id
    limit $1
    for no key update of d skip locked)
update deliveries d
set next_attempt_at = now() + make_interval(secs => $2), held = false
from due, tenants t
where d.id = due.id and t.id = d.tenant_id
returning d.id, d.tenant_id, d.job_id, d.event, d.ordinal % 1000000, d.sequence, d.url, d.payload, d.attempts, d.created_at, t.callback_secret;

-- name: PostponeDelivery
update deliveries set next_attempt_at = now() + make_interval(secs => $2) where id = $1 and state = 'pending';

-- name: SavePayload
update deliveries set payload = $2 where id = $1 and payload = '' returning payload;

-- name: Payload
select payload from deliveries where id = $1;

-- name: RecordAttempt
-- The delivery may be gone: its job was deleted while the attempt was on its way.
insert into delivery_attempts (delivery_id, n, status, error, duration_ms)
select d.id, $2::int, $3::int, $4::text, $5::int from deliveries d where d.id = $1
on conflict (delivery_id, n) do nothing;

-- name: SettleDelivery
update deliveries
set attempts = $2, state = $3, last_status = $4, last_error = $5,
    next_attempt_at = now() + make_interval(secs => $6),
    delivered_at = case when $3 = 'delivered' then now() end
where id = $1 and state = 'pending' and attempts = $2 - 1;

-- name: LockDelivery
-- Whoever adds an event holds the row of its job, so none is added while the one
-- before it is settled.
select 1 from jobs where id = (select job_id from deliveries where id = $1) for no key update;

-- name: FreeNextDelivery
-- Within a job the events go out in the order they came: the one behind $1 is due
-- when $1 was taken or given up, else a minute after $1 was first tried, and at
-- once if an earlier one has been failing for that long already.
update deliveries n
set next_attempt_at = case
    when e.state = 'pending' and not exists (select from deliveries b where b.job_id = e.job_id and b.state = 'pending' and b.sequence < e.sequence)
        then least(n.next_attempt_at, now() + interval '1 minute')
    else now() end
from deliveries e
where e.id = $1 and n.job_id = e.job_id and n.held and n.state = 'pending'
  and n.sequence = (select min(x.sequence) from deliveries x where x.job_id = e.job_id and x.state = 'pending' and x.sequence > e.sequence);

-- name: FreeDeliveries
-- What is held though no earlier event of its job is pending is due.
update deliveries n
set next_attempt_at = now()
where n.held and n.state = 'pending' and n.next_attempt_at = 'infinity'
  and not exists (select from deliveries b where b.job_id = n.job_id and b.state = 'pending' and b.sequence < n.sequence);
