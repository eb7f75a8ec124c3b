-- name: ForgetJob
select forget_job($1);

-- name: DeleteEarly
insert into tombstones (job_id, tenant_id) values ($1, $2) on conflict (job_id) do nothing;

-- name: WasDeleted
select exists (select from tombstones where job_id = $1);
