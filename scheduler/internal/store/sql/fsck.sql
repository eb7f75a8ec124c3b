-- name: DeclareNames
-- Every object that a row names, in the order in which a bucket lists its objects.
-- Postgres sorts on its disk; the cursor outlives its transaction, so that no
-- snapshot is held while a large bucket is listed.
declare fsck_names no scroll cursor with hold for
select object_key, kind from (
    select rendition_object(t.id, r.key, r.suffix) as object_key, 'rendition' as kind from renditions r join tenants t on t.num = r.tenant
    union all
    select object_key, 'artifact' from artifacts
    union all
    select object_key, 'upload' from uploads u -- which need not have arrived
    where not exists (select from jobs j where j.source_key = u.object_key)
    union all
    select source_key, case when bool_or(finished_at is null) then 'document' else 'upload' end from jobs
    where source_key is not null
    group by source_key) n
order by object_key collate "C";

-- name: FetchNames
fetch forward 1000 from fsck_names;

-- name: CloseNames
close fsck_names;

-- name: ObjectNamed
select object_named($1);

-- name: DropRenditionOf
delete from renditions r using tenants t
where t.num = r.tenant
  and r.key = decode(substring($1 from '^renditions/[^/]+/[0-9a-f]{2}/([0-9a-f]{64})'), 'hex')
  and rendition_object(t.id, r.key, r.suffix) = $1;
