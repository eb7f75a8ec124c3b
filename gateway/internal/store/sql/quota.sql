-- name: QuotaTenants
select tenant_id from quotas;

-- name: Reserve
select admitted, coalesce(quota, ''), coalesce(used, 0), coalesce(bound, 0) from reserve($1, $2, $3);

-- name: Unreserve
delete from reservations where job_id = any ($1::text[]);

-- name: SetPolicy
-- How long and how much is kept. An empty value leaves what there is, default takes
-- away the tenant's own.
update tenants
set keep_text = case $2 when '' then keep_text when 'default' then null else $2::interval end,
    keep_audio = case $3 when '' then keep_audio when 'default' then null else $3::interval end,
    keep_jobs = case $4 when '' then keep_jobs when 'default' then null else $4::interval end,
    keep_deliveries = case $5 when '' then keep_deliveries when 'default' then null else $5::interval end,
    keep_renditions = case $6 when '' then keep_renditions when 'default' then null else $6::interval end,
    keep_rendition_bytes = case $7 when '' then keep_rendition_bytes when 'default' then null else $7::bigint end
where id = $1;

-- name: SetQuota
-- What the tenant may have; an empty value leaves what there is, none takes a bound away.
insert into quotas as q (tenant_id, characters_day, open_jobs, outstanding_seconds, stored_bytes)
values ($1, nullif(nullif($2, ''), 'none')::bigint, nullif(nullif($3, ''), 'none')::bigint,
        nullif(nullif($4, ''), 'none')::double precision, nullif(nullif($5, ''), 'none')::bigint)
on conflict (tenant_id) do update
set characters_day = case when $2 = '' then q.characters_day else excluded.characters_day end,
    open_jobs = case when $3 = '' then q.open_jobs else excluded.open_jobs end,
    outstanding_seconds = case when $4 = '' then q.outstanding_seconds else excluded.outstanding_seconds end,
    stored_bytes = case when $5 = '' then q.stored_bytes else excluded.stored_bytes end;

-- name: DropEmptyQuota
-- Who has no bound asks for no places.
delete from quotas where tenant_id = $1 and (characters_day, open_jobs, outstanding_seconds, stored_bytes) is not distinct from (null, null, null, null);

-- name: Usage
-- By day and key, tallied or not.
select u.tenant_id, to_char(u.day, 'YYYY-MM-DD'), u.key_id, sum(u.jobs)::bigint, sum(u.characters)::bigint, sum(u.audio_seconds), sum(u.reused_seconds), sum(u.gpu_seconds)
from (select tenant_id, day, key_id, jobs, characters, audio_seconds, reused_seconds, gpu_seconds from usage_days
      where tenant_id = $1 and day between $2 and $3
      union all
      select $1, day, key_id, jobs, characters, audio_seconds, reused_seconds, gpu_seconds from usage_live($1) where day between $2 and $3) u
group by 1, 2, 3
order by 2, 3;

-- name: StoredBytes
select coalesce(sum(b.renditions), 0)::bigint, coalesce(sum(b.artifacts), 0)::bigint, coalesce(sum(b.uploads), 0)::bigint
from (select tenant, renditions, artifacts, uploads from stored
      union all
      select tenant, renditions, artifacts, uploads from stored_changes) b
where b.tenant = (select num from tenants where id = $1)
having exists (select from tenants where id = $1);
