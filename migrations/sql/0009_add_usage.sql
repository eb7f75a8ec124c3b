-- +goose Up

alter table jobs
    add column key_id  text   not null default '', -- the API key that handed it in
    add column asked   bigint not null default 0,  -- characters that were handed in as text, as counted by a quota until it is planned
    add column tallied bigint;                     -- characters that usage_days has of it; null: it is not in there
create index jobs_untallied on jobs (tenant_id, num) where finished_at is not null and tallied is null;

-- What ended jobs have used, by the day (UTC) on which they were accepted. A job
-- is added once, soon after its end; what it counts is kept exactly in its row.
create table usage_days (
    tenant_id      text             not null,
    day            date             not null,
    key_id         text             not null,
    jobs           bigint           not null,
    characters     bigint           not null, -- of segments that were spoken or reused
    audio_seconds  double precision not null,
    reused_seconds double precision not null, -- of these
    gpu_seconds    double precision not null,
    primary key (tenant_id, day, key_id)
);

-- What a tenant may have. Null is without bound; a tenant without a row has none.
create table quotas (
    tenant_id           text primary key references tenants (id),
    characters_day      bigint check (characters_day >= 0),              -- of jobs accepted in a day (UTC)
    open_jobs           bigint check (open_jobs >= 0),
    outstanding_seconds double precision check (outstanding_seconds >= 0), -- predicted audio of open jobs that is not made yet
    stored_bytes        bigint check (stored_bytes >= 0)                 -- of renditions and files
);

-- Jobs of such tenants that are accepted and have no row yet.
create table reservations (
    job_id     text        primary key,
    tenant_id  text        not null,
    characters bigint      not null,
    created_at timestamptz not null default clock_timestamp()
);
create index reservations_of on reservations (tenant_id, created_at);

-- +goose StatementBegin
-- spoken_characters counts the segments of a job that were spoken or reused: if it
-- succeeded as it was planned, all.
create function spoken_characters(p_job bigint, p_state text, p_planned bigint, p_segments int) returns bigint language sql stable as
$$
select case when p_state = 'succeeded' and not exists (select from redos where job = p_job) then p_planned
    else (select coalesce(sum(char_length(text)), 0) from segments_between(p_job, 1, p_segments) where state in ('done', 'reused')) end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- tally_job adds a job to usage_days, unless it is in there. Whoever calls it holds the job's row.
create function tally_job(p_job bigint) returns void language sql as
$$
with j as (
    update jobs set tallied = spoken_characters(num, state, characters, segments_total)
    where num = p_job and tallied is null
    returning *)
insert into usage_days as u (tenant_id, day, key_id, jobs, characters, audio_seconds, reused_seconds, gpu_seconds)
select tenant_id, (accepted_at at time zone 'utc')::date, key_id, 1, tallied, audio_seconds, reused_seconds, gpu_seconds from j
on conflict (tenant_id, day, key_id) do update
set jobs = u.jobs + 1, characters = u.characters + excluded.characters, audio_seconds = u.audio_seconds + excluded.audio_seconds,
    reused_seconds = u.reused_seconds + excluded.reused_seconds, gpu_seconds = u.gpu_seconds + excluded.gpu_seconds
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- A job that is opened again is taken out of usage_days with what it had put in.
create function untally_job() returns trigger language plpgsql as
$$
begin
    update usage_days
    set jobs = jobs - 1, characters = characters - old.tallied, audio_seconds = audio_seconds - old.audio_seconds,
        reused_seconds = reused_seconds - old.reused_seconds, gpu_seconds = gpu_seconds - old.gpu_seconds
    where tenant_id = old.tenant_id and day = (old.accepted_at at time zone 'utc')::date and key_id = old.key_id;
    new.tallied := null;
    return new;
end
$$;
-- +goose StatementEnd
create trigger untally_job before update of finished_at on jobs for each row
    when (old.finished_at is not null and new.finished_at is null and old.tallied is not null) execute function untally_job();

-- +goose StatementBegin
-- usage_live is what jobs have used that usage_days has not yet.
create function usage_live(p_tenant text)
    returns table (day date, key_id text, jobs bigint, characters bigint, audio_seconds double precision,
                   reused_seconds double precision, gpu_seconds double precision) language sql stable as
$$
select (j.accepted_at at time zone 'utc')::date, j.key_id, count(*), sum(spoken_characters(j.num, j.state, j.characters, j.segments_total))::bigint,
       sum(j.audio_seconds), sum(j.reused_seconds), sum(j.gpu_seconds)
from (select * from jobs where tenant_id = p_tenant and finished_at is null
      union all
      select * from jobs where tenant_id = p_tenant and finished_at is not null and tallied is null) j
group by 1, 2
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- reserve takes places for jobs of a tenant, in order, and returns how many it got
-- and, if not all, of which quota there was no more: what is had and what may be.
-- It excludes itself, so that what many gateways give at once is never too much by
-- more than the job whose size nobody knows before it is planned.
create function reserve(p_tenant text, p_jobs text[], p_characters bigint[])
    returns table (admitted int, quota text, used double precision, bound double precision) language plpgsql as
$$
declare
    q quotas%rowtype;
    h record;
begin
    perform set_config('synchronous_commit', 'off', true); -- a place that a crash takes back is taken again
    select * into q from quotas where tenant_id = p_tenant for update;
    if not found then
        return query select cardinality(p_jobs), null::text, null::double precision, null::double precision;
        return;
    end if;
    -- One statement, one snapshot: a job is on its way or has its row.
    select o.jobs + w.jobs as jobs, o.seconds + w.characters / 15.0 as seconds,
           d.characters + e.characters + o.characters + w.characters as characters, b.bytes
        into h
    from (select count(*) as jobs, coalesce(sum(r.characters), 0) as characters from reservations r
          where r.tenant_id = p_tenant and r.created_at > clock_timestamp() - interval '1 hour' and r.job_id <> all (p_jobs)
            and not exists (select from jobs where id = r.job_id)) w,
         (select count(*) as jobs,
                 coalesce(sum(case when state in ('accepted', 'planning') then asked / 15.0 else greatest(predicted_seconds - done_seconds, 0) end), 0) as seconds,
                 coalesce(sum(case when state in ('accepted', 'planning') then asked else characters end)
                          filter (where (accepted_at at time zone 'utc')::date = (now() at time zone 'utc')::date), 0) as characters
          from jobs where tenant_id = p_tenant and finished_at is null and id <> all (p_jobs)) o,
         (select coalesce(sum(case when state in ('succeeded', 'partial') then jobs.characters else 0 end), 0) as characters
          from jobs where tenant_id = p_tenant and finished_at is not null and tallied is null
            and (accepted_at at time zone 'utc')::date = (now() at time zone 'utc')::date) e,
         (select coalesce(sum(usage_days.characters), 0) as characters from usage_days
          where tenant_id = p_tenant and day = (now() at time zone 'utc')::date) d,
         (select coalesce((select renditions + artifacts from stored s where s.tenant = t.num), 0)
                 + coalesce((select sum(renditions + artifacts) from stored_changes c where c.tenant = t.num), 0) as bytes
          from tenants t where t.id = p_tenant) b;
    for i in 1 .. cardinality(p_jobs) loop
        case
            when h.jobs >= q.open_jobs then return query select i - 1, 'open_jobs', h.jobs::double precision, q.open_jobs::double precision;
            when h.characters + p_characters[i] > q.characters_day then
                return query select i - 1, 'characters_day', h.characters::double precision, q.characters_day::double precision;
            when h.seconds >= q.outstanding_seconds then return query select i - 1, 'outstanding_seconds', h.seconds::double precision, q.outstanding_seconds;
            when h.bytes >= q.stored_bytes then return query select i - 1, 'stored_bytes', h.bytes::double precision, q.stored_bytes::double precision;
            else
                insert into reservations (job_id, tenant_id, characters) values (p_jobs[i], p_tenant, p_characters[i]) on conflict (job_id) do nothing;
                h.jobs := h.jobs + 1;
                h.characters := h.characters + p_characters[i];
                h.seconds := h.seconds + p_characters[i] / 15.0;
                continue;
        end case;
        return;
    end loop;
    return query select cardinality(p_jobs), null::text, null::double precision, null::double precision;
end
$$;
-- +goose StatementEnd

-- What goes is counted before.
-- +goose StatementBegin
create or replace function forget_text(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    perform tally_job(p_job);
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
create or replace function forget_job(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    perform tally_job(p_job);
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
