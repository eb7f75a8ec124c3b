-- +goose Up

-- Documents count in what a tenant has stored: a place for one with the bytes that
-- were declared for it, from its making until it goes.
alter table stored add column uploads bigint not null default 0;
alter table stored_changes add column uploads bigint not null default 0;
insert into stored_changes (tenant, uploads)
select t.num, sum(u.max_bytes) from uploads u join tenants t on t.id = u.tenant_id group by t.num;

-- +goose StatementBegin
create function uploads_added() returns trigger language plpgsql as
$$
begin
    insert into stored_changes (tenant, uploads)
    select t.num, sum(f.max_bytes) from fresh f join tenants t on t.id = f.tenant_id group by t.num;
    return null;
end
$$;
-- +goose StatementEnd
create trigger uploads_added after insert on uploads referencing new table as fresh
    for each statement execute function uploads_added();

-- +goose StatementBegin
create function uploads_gone() returns trigger language plpgsql as
$$
begin
    insert into stored_changes (tenant, uploads)
    select t.num, -sum(g.max_bytes) from gone g join tenants t on t.id = g.tenant_id group by t.num;
    return null;
end
$$;
-- +goose StatementEnd
create trigger uploads_gone after delete on uploads referencing old table as gone
    for each statement execute function uploads_gone();

-- +goose StatementBegin
-- stored_bytes is what counts for the quota of a tenant.
create function stored_bytes(p_tenant text) returns bigint language sql stable as
$$
select (coalesce((select renditions + artifacts + uploads from stored s where s.tenant = t.num), 0)
        + coalesce((select sum(renditions + artifacts + uploads) from stored_changes c where c.tenant = t.num), 0))::bigint
from tenants t where t.id = p_tenant
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- add_upload makes a place for a document, unless the tenant has a bound of stored
-- bytes and would come to it; then it returns what is had and what may be. It
-- excludes itself, as reserve does. What stands under the id already stays.
create function add_upload(p_id text, p_tenant text, p_media text, p_bytes bigint, p_key text, p_expires timestamptz)
    returns table (used bigint, bound bigint) language plpgsql as
$$
begin
    select stored_bytes into bound from quotas where tenant_id = p_tenant for update;
    if bound is not null and not exists (select from uploads where id = p_id) then
        used := stored_bytes(p_tenant);
        if used + p_bytes >= bound then
            return next;
            return;
        end if;
    end if;
    insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at)
    values (p_id, p_tenant, p_media, p_bytes, p_key, p_expires) on conflict (id) do nothing;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- As before, but the bytes are those of stored_bytes.
create or replace function reserve(p_tenant text, p_jobs text[], p_characters bigint[])
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
         (select stored_bytes(p_tenant) as bytes) b;
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
