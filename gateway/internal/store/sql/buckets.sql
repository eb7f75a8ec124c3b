-- name: InsertBucket
-- No row: the tenant has as many as it may ($11). Whoever adds one holds the tenant's row.
insert into buckets (id, tenant_id, name, endpoint, region, bucket, prefix, path_style, sealed_by, sealed, tested_at)
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now()
where (select count(*) from buckets where tenant_id = $2) < $11
returning tested_at, created_at;

-- name: ReplaceBucket
update buckets
set name = $3, endpoint = $4, region = $5, bucket = $6, prefix = $7, path_style = $8, sealed_by = $9, sealed = $10, tested_at = now()
where id = $1 and tenant_id = $2
returning tested_at, created_at;

-- name: FindBucket
select id, name, endpoint, region, bucket, prefix, path_style, tested_at, created_at from buckets where id = $1 and tenant_id = $2;

-- name: ListBuckets
select id, name, endpoint, region, bucket, prefix, path_style, tested_at, created_at
from buckets
where tenant_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::text))
order by created_at desc, id desc
limit $4;

-- name: DeleteBucket
delete from buckets where id = $1 and tenant_id = $2 returning id;
