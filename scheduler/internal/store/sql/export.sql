-- name: DueExports
-- At most $1, without those of the jobs $2 and the tenants $3.
select e.job, j.id, e.tenant_id, e.round, e.planned, e.attempts, coalesce(extract(epoch from clock_timestamp() - e.failing_since), 0)::double precision,
       e.bucket_id, b.id is not null, coalesce(b.endpoint, ''), coalesce(b.region, ''), coalesce(b.bucket, ''), coalesce(b.prefix, ''),
       coalesce(b.path_style, false), coalesce(b.sealed_by, ''), coalesce(b.sealed, ''),
       j.title, j.author, j.about, j.language, coalesce(j.spec ->> 'voice', ''), coalesce(j.spec -> 'output', '{}'), coalesce(j.spec -> 'callback', 'null')
from exports e
         join jobs j on j.num = e.job and j.finished_at is not null
         left join buckets b on b.id = e.bucket_id and b.tenant_id = e.tenant_id
where e.state = 'pending' and e.next_attempt_at <= clock_timestamp() and e.job <> all ($2::bigint[]) and e.tenant_id <> all ($3::text[])
order by e.next_attempt_at, e.job
limit $1;

-- name: ExportArtifacts
select a.name, a.media_type, a.object_key, a.bytes, a.sha256 from artifacts a join jobs j on j.id = a.job_id where j.num = $1 order by a.name;

-- name: ExportChapters
select c.ordinal, c.title, coalesce(c.audio_samples::double precision / nullif(c.sample_rate, 0), 0)
from chapters c join jobs j on j.id = c.job_id
where j.num = $1 and c.state = 'ready' order by c.ordinal;

-- name: ExportFiles
select name, path, media_type, bytes, sha256, coalesce(object_key, ''), coalesce(content, ''), coalesce(upload_id, ''), done_at is not null
from export_files where job = $1 order by content is not null, path;

-- name: LockExport
-- No row: it has ended, or began anew.
select e.job from jobs j join exports e on e.job = j.num
where j.num = $1 and e.round = $2 and e.state = 'pending'
for no key update of j, e;

-- name: DropExportFiles
delete from export_files where job = $1;

-- name: InsertExportFiles
insert into export_files (job, name, path, media_type, bytes, sha256, object_key, content, upload_id)
select $1, f.name, f.path, f.media_type, f.bytes, f.sha256, nullif(f.object_key, ''), f.content, nullif(f.upload_id, '')
from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::text[], $8::text[], $9::text[])
         as f (name, path, media_type, bytes, sha256, object_key, content, upload_id);

-- name: ExportPlanned
with e as (update exports set planned = true, files_total = $2, files_done = 0 where job = $1 returning job)
update jobs j set version = version + 1 from e where j.num = e.job returning j.id, j.version;

-- name: BeginExportUpload
update export_files f set upload_id = $4 from exports e
where e.job = $1 and e.round = $2 and e.state = 'pending' and f.job = e.job and f.name = $3;

-- name: ExportFileDone
with j as (select num from jobs where num = $1 for no key update),
f as (
    update export_files f set done_at = clock_timestamp(), upload_id = null from exports e, j
    where e.job = j.num and e.round = $2 and e.state = 'pending' and f.job = e.job and f.name = $3 and f.done_at is null
    returning f.job),
e as (
    update exports e set files_done = e.files_done + 1, attempts = 0, failing_since = null, error_kind = null, error_detail = null
    from f where e.job = f.job)
update jobs set version = version + 1 from f where jobs.num = f.job returning jobs.id, jobs.version;

-- name: PostponeExport
-- $6: what goes where is found out anew.
with j as (select num from jobs where num = $1 for no key update),
e as (
    update exports e
    set next_attempt_at = clock_timestamp() + make_interval(secs => $3), attempts = e.attempts + 1,
        failing_since = coalesce(e.failing_since, clock_timestamp()), error_kind = $4, error_detail = $5, planned = e.planned and not $6::boolean
    from j where e.job = j.num and e.round = $2 and e.state = 'pending'
    returning e.job)
update jobs set version = version + 1 from e where jobs.num = e.job returning jobs.id, jobs.version;

-- name: EndExport
-- Who asked for it is told: $6 to $8 are a delivery.
with j as (select num, id, tenant_id from jobs where num = $1 for no key update),
e as (
    update exports e set state = $3, error_kind = nullif($4, ''), error_detail = nullif($5, ''), ended_at = clock_timestamp()
    from j where e.job = j.num and e.round = $2 and e.state = 'pending'
    returning e.job, e.round),
told as (
    insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload)
    select $6, j.tenant_id, j.id, $7, e.round, $8, '' from e join j on j.num = e.job where $8 <> ''
    on conflict (job_id, event, ordinal) do nothing)
update jobs set version = version + 1 from e where jobs.num = e.job returning jobs.id, jobs.version;
