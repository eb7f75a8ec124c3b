-- name: AddUpload
-- No row: it is stored, by this or by an earlier request.
select used, bound from add_upload($1, $2, $3, $4, $5, $6);

-- name: FindUpload
select media_type, max_bytes, object_key, expires_at from uploads where id = $1 and tenant_id = $2;

-- name: ClaimIdempotencyKey
insert into idempotency_keys (tenant_id, key, body_hash, job_id) values ($1, $2, $3, $4)
on conflict (tenant_id, key) do update
    set body_hash = excluded.body_hash, job_id = excluded.job_id, created_at = now()
    where idempotency_keys.created_at < now() - interval '24 hours'
returning job_id;

-- name: OwnsIdempotencyKey
select exists (select 1 from idempotency_keys
               where tenant_id = $1 and key = $2 and body_hash = $3 and created_at >= now() - interval '24 hours');

-- name: FindIdempotencyKey
select body_hash, job_id from idempotency_keys where tenant_id = $1 and key = $2;

-- name: ClaimIdempotencyKeys
-- As ClaimIdempotencyKey, for many. A key that somebody else claims at the same
-- moment comes back without an owner. So does one whose row, as this statement
-- sees it, has expired: somebody else has just made it theirs.
with asked as (
    select * from unnest($2::text[], $3::bytea[], $4::text[]) as a (key, body_hash, job_id)),
claimed as (
    insert into idempotency_keys (tenant_id, key, body_hash, job_id)
    select $1, key, body_hash, job_id from asked order by key
    on conflict (tenant_id, key) do update
        set body_hash = excluded.body_hash, job_id = excluded.job_id, created_at = now()
        where idempotency_keys.created_at < now() - interval '24 hours'
    returning key, body_hash, job_id)
select a.key, coalesce(c.body_hash, k.body_hash), coalesce(c.job_id, k.job_id, '')
from asked a left join claimed c on c.key = a.key
left join idempotency_keys k on k.tenant_id = $1 and k.key = a.key and k.created_at >= now() - interval '24 hours';

-- name: ListVoices
-- The voices that are offered, and since when no worker was heard of that has one. One
-- that nobody has had for a week is offered no longer.
with gone as (
    select p.pool, w.since from (select distinct pool from voices) p cross join lateral pool_waiting(p.pool) w
    where w.reason = 'gone')
select name, v.pool, language, engine, sample_rate, is_default, licence, attribution, instructions, g.since
from voices v left join gone g on g.pool = v.pool
where g.since is null or g.since > now() - interval '7 days'
order by name;

-- name: ListFormats
select distinct format from encoders order by format;

-- name: HasEar
select exists (select from ears);

-- name: Ping
select 1;
