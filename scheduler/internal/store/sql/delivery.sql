-- name: ClaimDeliveries
-- The lease ($2 seconds) is the time until another may try the same delivery.
-- Within a job the events go out in the order they came: an earlier one that
-- was not taken holds those behind it for a minute, never longer.
with due as (
    select d.id from deliveries d
    where d.state = 'pending' and d.next_attempt_at <= now()
      and not (lower(substring(d.url from '^[A-Za-z]+://([^/?#]*)')) = any ($3::text[]))
      and d.tenant_id <> all ($4::text[])
      and not exists (select 1 from deliveries e
                      where e.job_id = d.job_id and e.state = 'pending' and e.sequence < d.sequence
                        and (e.attempts = 0 or d.created_at > now() - interval '1 minute'))
    order by d.next_attempt_at, d.id
    limit $1
    for no key update of d skip locked)
update deliveries d
set next_attempt_at = now() + make_interval(secs => $2)
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
insert into delivery_attempts (delivery_id, n, status, error, duration_ms) values ($1, $2, $3, $4, $5)
on conflict (delivery_id, n) do nothing;

-- name: SettleDelivery
update deliveries
set attempts = $2, state = $3, last_status = $4, last_error = $5,
    next_attempt_at = now() + make_interval(secs => $6),
    delivered_at = case when $3 = 'delivered' then now() end
where id = $1 and state = 'pending' and attempts = $2 - 1;
