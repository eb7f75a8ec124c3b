-- +goose Up

-- What an owner may do to a job that is there: pause, resume, redrive, redo one
-- segment, set its priority, class or deadline. Each is one function, which
-- locks the job's row first as every change of a job does, and changes nothing
-- when it is called again.

alter table jobs
    add column paused_at timestamptz, -- nothing of it is spoken until it is resumed
    add column reopened int not null default 0 check (reopened between 0 and 2000); -- see number_delivery
alter table chapters
    add column spared int not null default 0; -- attempts from before a command, which count against nothing
alter table queues
    add column held boolean not null default false; -- the job is paused
drop index queues_open;
create index queues_open on queues (job, pool) where not closed and not held;

-- Attempts that are not charged: of a release that a command took back, and from
-- before a segment was asked for anew. Attempts themselves only grow, so a
-- worker that comes late finds no bundle of its attempt.
alter table outstanding add column spared smallint not null default 0;
alter table retries add column spared smallint not null default 0;

-- How a segment is spoken that its owner wanted otherwise than planned.
create table redos (
    job    bigint not null references jobs (num) on delete cascade,
    n      int    not null check (n >= 1),
    seed   bigint, -- null: the job's
    spoken text check (length(spoken) between 1 and 2000), -- null: as planned
    primary key (job, n)
);

-- Jobs whose terms a command changed. The leader's loop reads what waits of them
-- anew and removes the rows.
create table job_changes (
    id       bigint generated always as identity primary key,
    job      bigint  not null references jobs (num) on delete cascade,
    recalled boolean not null -- what was out of it was taken back
);

-- +goose StatementBegin
-- The events of a job's second end are events of their own: to the ordinals of
-- what comes after a job was opened again, a million is added for each time.
create or replace function number_delivery() returns trigger language plpgsql as
$$
begin
    select coalesce(max(sequence), 0) + 1 into new.sequence from deliveries where job_id = new.job_id;
    select new.ordinal + 1000000 * reopened into new.ordinal from jobs where id = new.job_id;
    return new;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- As before, but the text is what is really spoken.
create or replace function segments_between(p_job bigint, p_from int, p_to int)
    returns table (n int, chapter int, text text, voice text, language text, pool text, pronunciations jsonb, source_document text,
                   source_start bigint, source_end bigint, break_after text, predicted_seconds real, rendition_key bytea,
                   sample_rate int, state text, attempt int, error_kind text, error_detail text)
    language sql stable as
$$
select g.n, g.chapter, coalesce(d.spoken, g.text), g.voice, g.language, g.pool,
       case when d.spoken is null then b.pronunciations -> g.i end, g.document, g.start, g.stop, g.break, g.seconds,
       substr(b.keys, 32 * g.i + 1, 32), g.rate,
       case when e.state is not null then e.state
            when b.reused >> g.i & 1 = 1 then 'reused'
            when r.n is not null then 'pending'
            when o.mask is not null then 'released'
            when 64 * b.b + get_byte(b.turns, g.i) >= q.next then case when q.closed then 'cancelled' else 'pending' end
            else 'done' end,
       coalesce(e.attempts, o.attempt, r.attempts, case when 64 * b.b + get_byte(b.turns, g.i) >= q.next or b.reused >> g.i & 1 = 1 then 0 else 1 end)::int,
       coalesce(e.error_kind, r.error_kind), coalesce(e.error_detail, r.error_detail)
from blocks b
         cross join lateral (
             select (u.ord - 1)::int as i, (64 * b.b + u.ord)::int as n, u.*
             from unnest(b.chapters, b.texts, b.voices, b.languages, b.pools, b.documents, b.starts, b.ends, b.breaks, b.seconds, b.rates)
                      with ordinality as u (chapter, text, voice, language, pool, document, start, stop, break, seconds, rate, ord)) g
         left join queues q on q.job = b.job and q.pool = g.pool
         left join exceptions e on e.job = b.job and e.n = g.n
         left join retries r on r.job = b.job and r.n = g.n
         left join redos d on d.job = b.job and d.n = g.n
         left join lateral (select o.mask, o.attempt from outstanding o
                            where o.job = b.job and o.n between 64 * b.b + 1 and 64 * b.b + 64 and o.mask >> g.i & 1 = 1 limit 1) o on true
where b.job = p_job and b.b between (p_from - 1) / 64 and (p_to - 1) / 64 and g.n between p_from and p_to
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- recall_work takes back what is out of a job and not settled: it comes again,
-- from p_due on, and pays nothing for having been out. A worker that has it in
-- hand finds it unwanted before it goes to an engine; what an engine is speaking
-- is kept as a rendition, which the next release finds. Whoever calls it holds
-- the job's row.
create function recall_work(p_job bigint, p_due timestamptz) returns void language plpgsql as
$$
begin
    perform from outstanding where job = p_job order by job, n, attempt for update; -- in the order in which workers lock
    with gone as (delete from outstanding where job = p_job returning *)
    insert into retries (job, n, pool, attempts, spared, deaths, solo, not_before)
        select p_job, o.n - (o.n - 1) % 64 + i, o.pool, o.attempt, o.spared + 1, o.deaths + greatest(o.started - 1, 0), o.solo, p_due
        from gone o cross join generate_series(0, 63) as i
        where o.mask >> i & 1 = 1
        on conflict (job, n) do nothing;
end
$$;
-- +goose StatementEnd

-- What a command did: the job as it is now, whether it was changed, and if it
-- cannot be, why. No row if the tenant has no such job; a null tenant is any.
create type command_outcome as (state text, version bigint, changed boolean, refused text);

-- +goose StatementBegin
-- pause_job keeps a job from the engines. What is spoken already is joined, and
-- what nobody has begun waits without end. The order matters as in drop_work.
create function pause_job(p_id text, p_tenant text) returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    elsif j.finished_at is not null or j.paused_at is not null then
        return next (j.state, j.version, false, case when j.finished_at is not null then 'ended' end)::command_outcome;
        return;
    end if;
    update queues set held = true where job = j.num;
    update retries set not_before = 'infinity' where job = j.num;
    perform recall_work(j.num, 'infinity');
    update jobs set paused_at = clock_timestamp(), version = version + 1 where id = p_id;
    insert into job_changes (job, recalled) values (j.num, true);
    return next (j.state, j.version + 1, true, null)::command_outcome;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function resume_job(p_id text, p_tenant text) returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    elsif j.finished_at is not null or j.paused_at is null then
        return next (j.state, j.version, false, case when j.finished_at is not null then 'ended' end)::command_outcome;
        return;
    end if;
    update queues set held = false where job = j.num;
    update retries set not_before = clock_timestamp() where job = j.num and not_before = 'infinity';
    update jobs set paused_at = null, version = version + 1 where id = p_id;
    insert into job_changes (job, recalled) values (j.num, false);
    return next (j.state, j.version + 1, true, null)::command_outcome;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_job changes what orders a job. What is null stays; a deadline of infinity
-- takes the deadline away. Of another class, what is out is taken back, since its
-- messages name the class.
create function set_job(p_id text, p_tenant text, p_priority int, p_class text, p_deadline timestamptz)
    returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
    due timestamptz;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    end if;
    due := case when p_deadline = 'infinity' then null else coalesce(p_deadline, j.deadline) end;
    if j.finished_at is not null
        or (coalesce(p_priority, j.priority), coalesce(p_class, j.class), due) is not distinct from (j.priority, j.class, j.deadline) then
        return next (j.state, j.version, false, case when j.finished_at is not null then 'ended' end)::command_outcome;
        return;
    end if;
    if p_class <> j.class then
        update queues set next = next where job = j.num; -- waits for a release in hand, as pause_job does
        perform recall_work(j.num, case when j.paused_at is null then clock_timestamp() else 'infinity' end);
    end if;
    update jobs set priority = coalesce(p_priority, j.priority), class = coalesce(p_class, j.class), deadline = due, version = version + 1
        where id = p_id;
    insert into job_changes (job, recalled) values (j.num, coalesce(p_class <> j.class, false));
    return next (j.state, j.version + 1, true, null)::command_outcome;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- reopen_job makes a job run of which segments were made work again, and takes
-- back what they counted: p_spoken and p_reused segments that were done and
-- p_failed that were not (null: all that failed), p_seconds of predicted and
-- p_audio of real audio. The chapters p_chapters wait for them, and the job's end
-- is due no more. Owners are told of the new end, and of chapters that are ready anew.
create function reopen_job(p_id text, p_chapters int[], p_spoken int, p_reused int, p_failed int,
                           p_seconds double precision, p_audio double precision) returns command_outcome language plpgsql as
$$
declare
    done command_outcome;
begin
    with x as (
        select count(*) filter (where c.state = 'ready')::int as ready, count(*) filter (where c.state = 'failed')::int as failed
        from chapters c where c.job_id = p_id and c.ordinal = any (p_chapters))
    update jobs j
        set state = 'running', finished_at = null, error_kind = null, error_detail = null, proof_digest = null,
            segments_done = j.segments_done - p_spoken, segments_reused = j.segments_reused - p_reused,
            segments_failed = j.segments_failed - coalesce(p_failed, j.segments_failed),
            done_seconds = greatest(0, j.done_seconds - p_seconds), audio_seconds = greatest(0, j.audio_seconds - p_audio),
            reused_seconds = greatest(0, j.reused_seconds - case when p_reused > 0 then p_audio else 0 end),
            chapters_ready = j.chapters_ready - x.ready, chapters_failed = j.chapters_failed - x.failed,
            paused_at = case when j.finished_at is null then j.paused_at end,
            reopened = j.reopened + 1, version = j.version + 1
        from x where j.id = p_id;
    update chapters
        set state = 'pending', attempts = attempts + 1, spared = attempts + 1, proof_digest = null, object_key = null, ready_at = null,
            error_kind = null, error_detail = null,
            segments_done = segments_done - p_spoken - p_reused, segments_failed = segments_failed - coalesce(p_failed, segments_failed)
        where job_id = p_id and ordinal = any (p_chapters);
    delete from outbox where job_id = p_id and (kind = 'finish' or parked_at is not null or ordinal = any (p_chapters));
    insert into job_changes (job, recalled) select num, false from jobs where id = p_id;
    perform advance_job(p_id);
    select state, version, true, null into done from jobs where id = p_id;
    return done;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- redrive_job has what failed of a job done again, and nothing else: segments,
-- chapters that could not be joined, or the plan. The job may have ended.
create function redrive_job(p_id text, p_tenant text) returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
    seconds double precision;
    again int[];
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    elsif j.state = 'failed' and j.segments_total = 0 then -- its plan failed
        update jobs set state = 'accepted', finished_at = null, error_kind = null, error_detail = null, paused_at = null,
                reopened = j.reopened + 1, version = j.version + 1
            where id = p_id;
        insert into job_changes (job, recalled) values (j.num, false);
        return next ('accepted', j.version + 1, true, null)::command_outcome;
        return;
    elsif j.state = 'cancelled' or j.state <> 'failed' and j.segments_failed + j.chapters_failed = 0 then
        return next (j.state, j.version, false, case when j.state = 'cancelled' then 'ended' end)::command_outcome;
        return;
    end if;
    with f as (
        delete from exceptions e where e.job = j.num and e.state = 'failed' returning e.n, e.attempts),
    r as (
        insert into retries (job, n, pool, attempts, spared, solo, not_before)
        select j.num, f.n, b.pools[(f.n - 1) % 64 + 1], f.attempts, f.attempts, true,
            case when j.paused_at is not null and j.finished_at is null then 'infinity' else clock_timestamp() end
        from f join blocks b on b.job = j.num and b.b = (f.n - 1) / 64
        on conflict (job, n) do nothing)
    select coalesce(sum(b.seconds[(f.n - 1) % 64 + 1]::double precision), 0) into seconds
        from f join blocks b on b.job = j.num and b.b = (f.n - 1) / 64;
    select coalesce(array_agg(ordinal), '{}') into again from chapters where job_id = p_id and (state = 'failed' or segments_failed > 0);
    return next reopen_job(p_id, again, 0, 0, null, seconds, 0);
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- redo_segment has one segment that was spoken, or failed, spoken again under
-- another rendition key, and its chapter joined again. p_seed and p_spoken are
-- what the key was made of; null is as planned. With the key that it has it
-- changes nothing, unless the segment failed.
create function redo_segment(p_id text, p_tenant text, p_n int, p_key bytea, p_seed bigint, p_spoken text)
    returns setof command_outcome language plpgsql as
$$
declare
    j jobs%rowtype;
    g record;
    i int := (p_n - 1) % 64;
    audio double precision;
begin
    select * into j from jobs where id = p_id and (p_tenant is null or tenant_id = p_tenant) for update;
    if not found then
        return;
    end if;
    select * into g from segments_between(j.num, p_n, p_n);
    if not found or j.state in ('accepted', 'planning') then
        return next (j.state, j.version, false, 'segment')::command_outcome;
        return;
    elsif j.state = 'cancelled' then
        return next (j.state, j.version, false, 'ended')::command_outcome;
        return;
    elsif g.rendition_key = p_key and g.state <> 'failed' then
        return next (j.state, j.version, false, null)::command_outcome;
        return;
    elsif g.state not in ('done', 'reused', 'failed') or g.state = 'reused' and exists (
        select from queues q join blocks b on b.job = q.job and b.b = (p_n - 1) / 64 -- the cursor is still to pass it by
        where q.job = j.num and q.pool = g.pool and q.next <= 64 * b.b + get_byte(b.turns, i)) then
        return next (j.state, j.version, false, 'unspoken')::command_outcome;
        return;
    end if;
    select coalesce((select r.samples::double precision / r.sample_rate from renditions r where r.key = g.rendition_key), g.predicted_seconds) into audio;
    update blocks set keys = overlay(keys placing p_key from 32 * i + 1 for 32), reused = reused & ~(1::bigint << i)
        where job = j.num and b = (p_n - 1) / 64;
    insert into redos (job, n, seed, spoken) values (j.num, p_n, p_seed, p_spoken)
        on conflict (job, n) do update set seed = excluded.seed, spoken = excluded.spoken;
    delete from exceptions where job = j.num and n = p_n;
    insert into retries (job, n, pool, attempts, spared, not_before)
        values (j.num, p_n, g.pool, g.attempt, g.attempt, case when j.paused_at is not null and j.finished_at is null then 'infinity' else clock_timestamp() end);
    return next reopen_job(p_id, array [g.chapter], (g.state = 'done')::int, (g.state = 'reused')::int, (g.state = 'failed')::int,
        g.predicted_seconds, case when g.state = 'failed' then 0 else audio end);
    -- The proof of completeness is that of the new key: see OrderDigest in package job.
    update chapters c
        set plan_digest = (select sha256(string_agg(int4send(64) || convert_to(encode(s.rendition_key, 'hex'), 'UTF8'), ''::bytea order by s.n))
                           from segments_between(j.num, c.first_segment, c.first_segment + c.segments_total - 1) s)
        where c.job_id = p_id and c.ordinal = g.chapter;
    update jobs
        set plan_digest = (select sha256(string_agg(int4send(64) || convert_to(encode(c.plan_digest, 'hex'), 'UTF8'), ''::bytea order by c.ordinal))
                           from chapters c where c.job_id = p_id)
        where id = p_id;
end
$$;
-- +goose StatementEnd
