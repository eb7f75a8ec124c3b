-- name: FindKey
select id, tenant_id, scopes from api_keys where hash = $1 and revoked_at is null;

-- name: InsertKey
insert into api_keys (id, tenant_id, name, hash, scopes, certificate) values ($1, $2, $3, $4, $5, $6) returning created_at;

-- name: ListKeys
select id, name, scopes, certificate, created_at, revoked_at
from api_keys
where tenant_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::text))
order by created_at desc, id desc
limit $4;

-- name: LockTenant
select id from tenants where id = $1 for update;

-- name: CountAdmins
select count(*) from api_keys where tenant_id = $1 and revoked_at is null and 'admin' = any (scopes);

-- name: ListTenants
select t.id, t.created_at, count(k.id), count(k.id) filter (where 'admin' = any (k.scopes))
from tenants t left join api_keys k on k.tenant_id = t.id and k.revoked_at is null
group by t.id order by t.id;

-- name: CountOtherAdmins
select count(*) from api_keys where tenant_id = $1 and id <> $2 and revoked_at is null and 'admin' = any (scopes);

-- name: FindKeyOf
select revoked_at is null and 'admin' = any (scopes) from api_keys where tenant_id = $1 and id = $2;

-- name: RevokeKey
update api_keys set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1 and id = $2 returning id;

-- name: CallbackSecret
select callback_secret from tenants where id = $1;

-- name: TenantExists
select exists (select from tenants where id = $1);
