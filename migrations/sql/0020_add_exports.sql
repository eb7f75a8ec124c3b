-- +goose Up

-- Files on their way into buckets of owners. What is due is written in the
-- transaction that ends the job, and only the leader works on it.
create table exports (
    job             bigint      primary key references jobs (num) on delete cascade,
    tenant_id       text        not null references tenants (id),
    bucket_id       text        not null, -- which may have been deleted since
    round           int         not null default 1, -- the fence of every write: each begins the whole anew
    planned         boolean     not null default false, -- export_files says what goes where
    state           text        not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    files_total     int         not null default 0,
    files_done      int         not null default 0,
    attempts        int         not null default 0, -- in a row and in vain
    failing_since   timestamptz, -- the first of these
    next_attempt_at timestamptz not null default clock_timestamp(),
    error_kind      text, -- of the last of these, or why it was given up
    error_detail    text,
    ended_at        timestamptz,
    check ((state = 'pending') = (ended_at is null)),
    check (files_done <= files_total),
    check (state <> 'delivered' or planned and files_done = files_total and error_kind is null),
    check (state <> 'failed' or error_kind is not null)
) with (fillfactor = 70);
create index exports_due on exports (next_attempt_at) where state = 'pending';
create index exports_waiting on exports (bucket_id) where state = 'pending';

create table export_files (
    job        bigint not null references exports (job) on delete cascade,
    name       text   not null, -- of the artifact
    path       text   not null, -- below the prefix of the bucket
    media_type text   not null,
    bytes      bigint not null,
    sha256     bytea  not null check (length(sha256) = 32),
    object_key text,   -- in our bucket
    content    text,   -- of a file that is made for the owner's bucket only
    upload_id  text,   -- of the upload in parts that was begun there
    done_at    timestamptz,
    primary key (job, name),
    unique (job, path),
    check ((object_key is null) <> (content is null))
);

-- +goose StatementBegin
-- begin_export makes the files of a job that has ended due for the bucket that the
-- job names, whether or not they have been there before. What was under way of a job that
-- was opened again and did not succeed is given up. Whoever calls it holds the job's row.
create function begin_export(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where num = p_job;
    if j.state not in ('succeeded', 'partial') then
        update exports set state = 'failed', error_kind = 'cancelled', error_detail = 'The job was opened again and did not succeed.', ended_at = clock_timestamp()
            where job = p_job and state = 'pending';
    elsif coalesce(j.spec #>> '{output,deliver_to}', '') <> '' then
        insert into exports as e (job, tenant_id, bucket_id) values (j.num, j.tenant_id, j.spec #>> '{output,deliver_to}')
        on conflict (job) do update
        set round = e.round + 1, planned = false, state = 'pending', files_total = 0, files_done = 0, attempts = 0, failing_since = null,
            next_attempt_at = clock_timestamp(), error_kind = null, error_detail = null, ended_at = null;
    end if;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function job_ended() returns trigger language plpgsql as
$$
begin
    perform begin_export(new.num);
    return null;
end
$$;
-- +goose StatementEnd
create trigger job_ended after update of finished_at on jobs for each row
    when (old.finished_at is null and new.finished_at is not null and new.spec #>> '{output,deliver_to}' is not null) execute function job_ended();

-- +goose StatementBegin
-- deliver_job has the files of a job delivered again, or at once if they wait for a
-- bucket that is away. What is in the bucket already is left alone.
create function deliver_job(p_id text, p_tenant text) returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
    refusal text;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    end if;
    refusal := case
        when coalesce(j.spec #>> '{output,deliver_to}', '') = '' then 'nowhere'
        when j.finished_at is null then 'unended'
        when j.state not in ('succeeded', 'partial') then 'ended'
        when j.kept & 2 = 0 then 'files' end;
    if refusal is not null then
        return next (j.state, j.version, false, refusal)::command_outcome;
        return;
    end if;
    update exports set next_attempt_at = clock_timestamp() where job = j.num and state = 'pending';
    if not found then
        perform begin_export(j.num);
    end if;
    update jobs set version = version + 1 where num = j.num;
    return next (j.state, j.version + 1, true, null)::command_outcome;
end
$$;
-- +goose StatementEnd
