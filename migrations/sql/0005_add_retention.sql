-- +goose Up

-- How long what a tenant owns is kept, and how many bytes its renditions may
-- take: null is as the scheduler is configured, 0 is without end.
alter table tenants
    add column keep_text            interval check (keep_text >= '0'),
    add column keep_audio           interval check (keep_audio >= '0'),
    add column keep_jobs            interval check (keep_jobs >= '0'),
    add column keep_deliveries      interval check (keep_deliveries >= '0'),
    add column keep_renditions      interval check (keep_renditions >= '0'),
    add column keep_rendition_bytes bigint check (keep_rendition_bytes >= 0);

-- What there is of a job that has ended: 1 its text, 2 its files, 3 both.
alter table jobs add column kept smallint not null default 3 check (kept between 0 and 3);
create index jobs_ended on jobs (tenant_id, kept, finished_at) where finished_at is not null;
create index jobs_oldest on jobs (tenant_id, accepted_at) where finished_at is null;
create index jobs_source on jobs (source_key) where source_key is not null;
create index outbox_job on outbox (job_id); -- for jobs that go
create index deliveries_settled on deliveries (tenant_id, created_at) where state <> 'pending';
create index uploads_expiry on uploads (expires_at);

-- The day (UTC) on which a rendition was made or a plan last counted on it. A
-- job that was accepted on a later day than this one does not.
alter table renditions add column used_on date not null default (now() at time zone 'utc')::date;
create index renditions_used on renditions (tenant, used_on);

create unique index artifacts_object on artifacts (object_key);

-- Jobs that were deleted while their envelope, or a request with their
-- Idempotency-Key, may still come: neither makes them again.
create table tombstones (
    job_id     text        primary key,
    tenant_id  text        not null,
    created_at timestamptz not null default clock_timestamp()
);
create index tombstones_age on tombstones (created_at);

-- Objects that no row names any more. They go a while later, so that who reads
-- one comes to its end; nobody makes a row of a name that stands here, also for a
-- while after its object is gone.
create table garbage (
    object_key text        primary key,
    created_at timestamptz not null default clock_timestamp(),
    gone_at    timestamptz
);
create index garbage_due on garbage (created_at) where gone_at is null;
create index garbage_gone on garbage (gone_at) where gone_at is not null;

-- The bytes of what tenants have stored: the sums, and what was added since.
create table stored (
    tenant     int    primary key, -- tenants.num
    renditions bigint not null default 0,
    artifacts  bigint not null default 0
);
create table stored_changes (
    tenant     int    not null,
    renditions bigint not null default 0,
    artifacts  bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
insert into stored (tenant, renditions, artifacts)
select t.num, coalesce((select sum(bytes) from renditions where tenant = t.num), 0),
       coalesce((select sum(a.bytes) from artifacts a join jobs j on j.id = a.job_id where j.tenant_id = t.id), 0)
from tenants t;

-- +goose StatementBegin
-- object_named says whether a row names an object. What is in none of the three
-- folders is none of ours, and counts as named.
create function object_named(p_key text) returns boolean language sql stable as
$$
select case split_part(p_key, '/', 1)
    when 'renditions' then exists (
        select from renditions r join tenants t on t.num = r.tenant
        where r.key = decode(substring(p_key from '^renditions/[^/]+/[0-9a-f]{2}/([0-9a-f]{64})'), 'hex')
          and rendition_object(t.id, r.key, r.suffix) = p_key)
    when 'jobs' then exists (select from artifacts where object_key = p_key)
    when 'uploads' then exists (select from uploads where object_key = p_key) or exists (select from jobs where source_key = p_key)
    else true end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function drop_object(p_key text) returns void language sql as
$$
insert into garbage (object_key) values (p_key)
on conflict (object_key) do update set created_at = clock_timestamp(), gone_at = null
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function renditions_added() returns trigger language plpgsql as
$$
begin
    insert into stored_changes (tenant, renditions) select tenant, sum(bytes) from fresh group by tenant;
    return null;
end
$$;
-- +goose StatementEnd
create trigger renditions_added after insert on renditions referencing new table as fresh
    for each statement execute function renditions_added();

-- +goose StatementBegin
create function renditions_gone() returns trigger language plpgsql as
$$
begin
    insert into stored_changes (tenant, renditions) select tenant, -sum(bytes) from gone group by tenant;
    perform drop_object(rendition_object(t.id, g.key, g.suffix)) from gone g join tenants t on t.num = g.tenant;
    return null;
end
$$;
-- +goose StatementEnd
create trigger renditions_gone after delete on renditions referencing old table as gone
    for each statement execute function renditions_gone();

-- +goose StatementBegin
-- artifact_changed keeps the sums and lets the objects go that were replaced. The
-- tenant stands in the object's name, since the job's row may be gone.
create function artifact_changed() returns trigger language plpgsql as
$$
begin
    if tg_op <> 'INSERT' then
        insert into stored_changes (tenant, artifacts) select num, -old.bytes from tenants where id = split_part(old.object_key, '/', 2);
    end if;
    if tg_op <> 'DELETE' then
        insert into stored_changes (tenant, artifacts) select num, new.bytes from tenants where id = split_part(new.object_key, '/', 2);
    end if;
    if tg_op = 'DELETE' or tg_op = 'UPDATE' and old.object_key <> new.object_key then
        perform drop_object(old.object_key);
    end if;
    return null;
end
$$;
-- +goose StatementEnd
create trigger artifact_changed after insert or delete or update of object_key, bytes on artifacts
    for each row execute function artifact_changed();

-- +goose StatementBegin
-- drop_source lets a document go that no row names any more.
create function drop_source(p_key text) returns void language plpgsql as
$$
begin
    if p_key is not null and not object_named(p_key) then
        perform drop_object(p_key);
    end if;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- forget_text deletes the text of a job that has ended: what was handed in, the
-- segments, and the manifest, which quotes them. Whoever calls it holds the job's row.
create function forget_text(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where num = p_job;
    delete from blocks where job = p_job;
    delete from artifacts where job_id = j.id and name = 'manifest.json';
    update jobs set spec = spec #- '{input,text}' #- '{input,segments}', source_key = null, source_etag = null,
        kept = kept & 2, version = version + 1
    where num = p_job;
    perform drop_source(j.source_key);
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- forget_audio deletes the files of a job that has ended. Whoever calls it holds the job's row.
create function forget_audio(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where num = p_job;
    delete from artifacts where job_id = j.id;
    update chapters set artifact = null, object_key = '' where job_id = j.id and state = 'ready';
    update jobs set kept = kept & 1, version = version + 1 where num = p_job;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- forget_job deletes a job and all that is its own; renditions may be others' and
-- stay. Its envelope is not believed for 30 days from its acceptance on, so that
-- long a tombstone stands for the row. Whoever calls it holds the job's row.
create function forget_job(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where num = p_job;
    insert into tombstones (job_id, tenant_id)
        select j.id, j.tenant_id where j.accepted_at > now() - interval '30 days'
        on conflict (job_id) do nothing;
    delete from outstanding where job = p_job;
    delete from cancellations where job_id = j.id;
    delete from jobs where num = p_job;
    perform drop_source(j.source_key);
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- A job that is opened again gets text and files to keep anew.
create function keep_again() returns trigger language plpgsql as
$$
begin
    new.kept := 3;
    return new;
end
$$;
-- +goose StatementEnd
create trigger keep_again before update of finished_at on jobs for each row
    when (old.finished_at is not null and new.finished_at is null) execute function keep_again();

-- What has no text any more cannot be spoken again.
alter function redrive_job(text, text) rename to redrive_kept_job;
-- +goose StatementBegin
create function redrive_job(p_id text, p_tenant text) returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if found and j.kept & 1 = 0 then
        return next (j.state, j.version, false, 'text')::command_outcome;
    elsif found then
        return query select * from redrive_kept_job(p_id, p_tenant);
    end if;
end
$$;
-- +goose StatementEnd
