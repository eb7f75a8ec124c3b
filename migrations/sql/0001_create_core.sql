-- +goose Up

-- Locking rule for every transaction that changes a job: lock the rows of jobs
-- first, ordered by id; then touch chapters and segments. That excludes deadlocks.

create table settings (
    name       text primary key,
    value      bytea       not null,
    created_at timestamptz not null default now()
);

create table tenants (
    id              text primary key check (id ~ '^[a-z0-9_-]{1,64}$'),
    num             int generated always as identity unique, -- how hot rows name a tenant
    weight          double precision not null default 1 check (weight > 0),
    callback_secret text             not null check (callback_secret like 'whsec\_%'),
    created_at      timestamptz      not null default now()
);

create table api_keys (
    id         text primary key check (id like 'key\_%'),
    tenant_id  text        not null references tenants (id),
    name       text        not null default '' check (length(name) <= 200),
    hash       bytea       not null unique check (length(hash) = 32),
    scopes     text[]      not null check (scopes <@ array ['jobs:write', 'jobs:read', 'admin'] and cardinality(scopes) > 0),
    certificate boolean    not null default false, -- whether hash is that of a client certificate's public key
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);

create table voices (
    name        text primary key check (length(name) between 1 and 64),
    pool        text        not null check (pool ~ '^[a-z0-9_-]{1,32}$'),
    language    text        not null,
    engine      text        not null,
    sample_rate int         not null check (sample_rate between 8000 and 192000),
    is_default  boolean     not null default false,
    updated_at  timestamptz not null default now()
);

create table uploads (
    id         text primary key check (id like 'upl\_%'),
    tenant_id  text        not null references tenants (id),
    media_type text        not null,
    max_bytes  bigint      not null check (max_bytes > 0),
    object_key text        not null unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);

create table jobs (
    id                text primary key check (id like 'job\_%'),
    num               bigint generated always as identity unique, -- how hot rows name a job; never leaves the system
    tenant_id         text             not null references tenants (id),
    class             text             not null check (class in ('interactive', 'bulk')),
    priority          int              not null default 0,
    deadline          timestamptz,
    state             text             not null check (state in ('accepted', 'planning', 'queued', 'running',
                                                                 'assembling', 'succeeded', 'partial', 'failed', 'cancelled')),
    version           bigint           not null default 1,
    spec              jsonb            not null,
    labels            jsonb            not null default '{}',
    on_failure        text             not null check (on_failure in ('fail', 'partial')),
    source_key        text,
    source_etag       text,
    -- It is read in a process of its own: an upload, or text that is marked up.
    document          boolean          not null generated always as
        (source_key is not null or coalesce(spec #>> '{input,media_type}', 'text/plain') <> 'text/plain') stored,
    title             text             not null default '',
    language          text             not null default '',
    segments_total    int              not null default 0,
    segments_done     int              not null default 0,
    segments_reused   int              not null default 0,
    segments_failed   int              not null default 0,
    chapters_total    int              not null default 0,
    chapters_ready    int              not null default 0,
    chapters_failed   int              not null default 0,
    characters        bigint           not null default 0,
    predicted_seconds double precision not null default 0,
    done_seconds      double precision not null default 0, -- predicted seconds of the segments that are final
    audio_seconds     double precision not null default 0,
    reused_seconds    double precision not null default 0,
    gpu_seconds       double precision not null default 0,
    plan_digest       bytea,
    proof_digest      bytea,
    error_kind        text,
    error_detail      text,
    plan_attempts     int              not null default 0,
    request_id        text             not null default '',
    traceparent       text             not null default '',
    tracestate        text             not null default '', -- W3C Trace Context, beside traceparent
    accepted_at       timestamptz      not null,
    created_at        timestamptz      not null default now(),
    started_at        timestamptz,
    finished_at       timestamptz,
    check ((state in ('succeeded', 'partial', 'failed', 'cancelled')) = (finished_at is not null)),
    check (segments_done + segments_reused + segments_failed <= segments_total),
    check (chapters_ready + chapters_failed <= chapters_total),
    -- I6: the completeness proof.
    check (state <> 'succeeded' or (segments_total > 0 and segments_done + segments_reused = segments_total
        and chapters_ready = chapters_total and plan_digest is not null and proof_digest = plan_digest)),
    check (state <> 'partial' or (on_failure = 'partial' and segments_failed > 0
        and segments_done + segments_reused + segments_failed = segments_total)),
    check (state <> 'failed' or error_kind is not null)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index jobs_by_tenant on jobs (tenant_id, accepted_at desc, id desc);
create index jobs_open on jobs (state, accepted_at) where finished_at is null;
create index jobs_accepted on jobs (document, class, tenant_id, accepted_at, id) where state = 'accepted';

create table idempotency_keys (
    tenant_id  text        not null references tenants (id),
    key        text        not null check (length(key) between 1 and 255),
    body_hash  bytea       not null check (length(body_hash) = 32),
    job_id     text        not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

-- A cancel that arrives while the job is still in JOBS only.
create table cancellations (
    job_id     text primary key,
    tenant_id  text        not null references tenants (id),
    created_at timestamptz not null default now()
);

create table chapters (
    job_id          text   not null references jobs (id) on delete cascade,
    ordinal         int    not null check (ordinal >= 1),
    title           text   not null default '',
    matter          text   not null default 'body' check (matter in ('front', 'body', 'back')),
    state           text   not null check (state in ('pending', 'assembling', 'ready', 'failed')),
    first_segment   int    not null,
    segments_total  int    not null check (segments_total > 0),
    segments_done   int    not null default 0, -- done and reused
    segments_failed int    not null default 0,
    plan_digest     bytea  not null, -- SHA-256 over the rendition keys in reading order
    proof_digest    bytea,           -- the same over what was really joined
    sample_rate     int,
    audio_samples   bigint,
    artifact        text,
    object_key      text,
    bytes           bigint,
    sha256          bytea,
    attempts        int    not null default 0,
    error_kind      text,
    error_detail    text,
    ready_at        timestamptz,
    primary key (job_id, ordinal),
    check (segments_done + segments_failed <= segments_total),
    check ((state = 'ready') = (object_key is not null)),
    check (state <> 'ready' or segments_done + segments_failed = segments_total),
    check (state <> 'ready' or segments_failed > 0 or proof_digest = plan_digest),
    check (state <> 'failed' or error_kind is not null)
) with (fillfactor = 80);

-- The queue of segments. What a job needs is written once, in blocks of 64
-- segments; after that only what is out, what comes again and what ended in
-- another way than by being done has rows of its own. The state of a segment
-- follows from where it is found, see segments_between.

-- Block b of a job holds its segments 64*b+1 to 64*b+64, in reading order. Each
-- array has one element a segment; the texts are what Postgres compresses.
create table blocks (
    job            bigint   not null references jobs (num) on delete cascade,
    b              int      not null check (b >= 0),
    chapters       int[]    not null,
    texts          text[]   not null,
    voices         text[]   not null,
    languages      text[]   not null,
    pools          text[]   not null,
    pronunciations jsonb,            -- an array with null for none; null for none at all
    documents      text[]   not null,
    starts         bigint[] not null,
    ends           bigint[] not null,
    breaks         text[]   not null, -- none, sentence, paragraph, chapter
    seconds        real[]   not null, -- predicted audio
    rates          int[]    not null, -- sample rate, hertz
    keys           bytea    not null, -- 32 bytes a segment: its rendition key
    turns          bytea    not null, -- a byte a segment: its place in the order of release inside the block
    reused         bigint   not null default 0, -- bit i: segment 64*b+i+1 was there when the job was planned
    primary key (job, b),
    check (cardinality(texts) between 1 and 64 and cardinality(chapters) = cardinality(texts) and cardinality(seconds) = cardinality(texts)),
    check (length(keys) = 32 * cardinality(texts) and length(turns) = cardinality(texts))
);

-- What of a job has not been released for the first time: everything from next
-- on in the order of release. The position of segment n is
-- 64 * ((n-1)/64) + its turn. A row goes when its last segment is out.
create table queues (
    job     bigint  not null references jobs (num) on delete cascade,
    pool    text    not null,
    next    int     not null default 0 check (next >= 0),
    seconds real    not null, -- predicted audio from next on
    closed  boolean not null default false, -- the job was cancelled; nothing is released any more
    primary key (job, pool)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index queues_open on queues (job, pool) where not closed;

-- What is out: a row a bundle, which is one message in WORK. A bundle is named
-- by the segment that stands first in it. It holds segments of one block.
create table outstanding (
    job         bigint      not null,
    n           int         not null check (n >= 1),
    attempt     smallint    not null check (attempt >= 1), -- the fence of every write
    pool        text        not null,
    mask        bigint      not null check (mask <> 0), -- bit (m-1)%64: segment m of the block is not settled
    seconds     real        not null, -- predicted audio when it went out
    solo        boolean     not null default false, -- must be alone in its engine call
    deaths      smallint    not null default 0, -- deliveries that ended without a result, before this release
    started     smallint    not null default 0, -- deliveries of this release that began and were not given back
    released_at timestamptz not null default clock_timestamp(),
    primary key (job, n, attempt)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What is to be released again, each segment by itself: a failed attempt, a
-- dead worker, a rendition that somebody else is making, one that was damaged.
create table retries (
    job          bigint      not null references jobs (num) on delete cascade,
    n            int         not null check (n >= 1),
    pool         text        not null,
    attempts     smallint    not null default 0, -- charged so far
    deaths       smallint    not null default 0, -- not charged: its worker died
    solo         boolean     not null default false,
    not_before   timestamptz not null default clock_timestamp(),
    error_kind   text,
    error_detail text,
    primary key (job, n)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index retries_due on retries (not_before, job, n);

-- What is remembered of a segment beside its rendition: that it failed, that it
-- was cancelled while it was out, that it took more than one attempt.
create table exceptions (
    job          bigint   not null references jobs (num) on delete cascade,
    n            int      not null check (n >= 1),
    state        text     not null check (state in ('done', 'failed', 'cancelled')),
    attempts     smallint not null,
    error_kind   text,
    error_detail text,
    primary key (job, n),
    check (state <> 'failed' or error_kind is not null)
);

-- A rendition is the immutable WAV of one segment text, voice, engine, … of one
-- tenant; key is the SHA-256 of everything that shapes it (package job,
-- RenditionKey). It is the lasting record of a segment that is done.
create table renditions (
    key         bytea    primary key check (length(key) = 32),
    tenant      int      not null, -- tenants.num
    suffix      text     not null default '', -- of its object's name; empty but for a second object of one key
    sample_rate int      not null,
    samples     int      not null check (samples > 0),
    bytes       int      not null check (bytes > 0),
    sha256      bytea    not null check (length(sha256) = 32),
    verdict     text,    -- what the check of the audio had to remark
    marks       jsonb,   -- {"sentences":[[start,end,sample],…],"words":[…]}, byte ranges in the text
    created_at  timestamptz not null default now()
);

-- +goose StatementBegin
-- rendition_object is where in the bucket a rendition is.
create function rendition_object(p_tenant text, p_key bytea, p_suffix text) returns text language sql immutable as
$$
select 'renditions/' || p_tenant || '/' || left(encode(p_key, 'hex'), 2) || '/' || encode(p_key, 'hex') || p_suffix || '.wav'
$$;
-- +goose StatementEnd

-- Who leads. Every statement that a leader writes locks its row FOR KEY SHARE
-- and compares the epoch; a takeover waits for those, and they change nothing
-- after it. The epoch is part of a key, so that a takeover changes the key and
-- a renewal does not: renewals never wait, however many statements there are.
create table leases (
    name   text        primary key,
    epoch  bigint      not null,
    holder text        not null,
    until  timestamptz not null,
    unique (name, epoch)
);

-- hold_lease begins a batch of a leader's: the rest of the transaction happens
-- under the lease, and not at all when another holds it.
-- +goose StatementBegin
create function hold_lease(p_name text, p_epoch bigint) returns void language plpgsql as
$$
begin
    perform from leases where name = p_name and epoch = p_epoch and until > clock_timestamp() for key share;
    if not found then
        raise exception 'lease % is not held with epoch %', p_name, p_epoch using errcode = 'VM001';
    end if;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- segments_between returns the segments p_from to p_to of a job with their
-- states. Its cost is that of the blocks that they are in.
create function segments_between(p_job bigint, p_from int, p_to int)
    returns table (n int, chapter int, text text, voice text, language text, pool text, pronunciations jsonb, source_document text,
                   source_start bigint, source_end bigint, break_after text, predicted_seconds real, rendition_key bytea,
                   sample_rate int, state text, attempt int, error_kind text, error_detail text)
    language sql stable as
$$
select g.n, g.chapter, g.text, g.voice, g.language, g.pool, b.pronunciations -> g.i, g.document, g.start, g.stop, g.break, g.seconds,
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
         left join lateral (select o.mask, o.attempt from outstanding o
                            where o.job = b.job and o.n between 64 * b.b + 1 and 64 * b.b + 64 and o.mask >> g.i & 1 = 1 limit 1) o on true
where b.job = p_job and b.b between (p_from - 1) / 64 and (p_to - 1) / 64 and g.n between p_from and p_to
$$;
-- +goose StatementEnd

-- Every segment with its state, to look around in; what runs asks segments_between.
create view segments as
select j.id as job_id, j.num as job, s.*, r.samples as audio_samples, r.verdict
from jobs j
         cross join lateral segments_between(j.num, 1, j.segments_total) s
         left join renditions r on r.key = s.rendition_key and s.state in ('done', 'reused');

-- +goose StatementBegin
-- drop_work takes back everything of a cancelled job that is not done, and says
-- whether something of it was out: nothing is released afterwards, and what a
-- worker has in hand counts no more. Whoever calls it holds the job's row. The
-- order matters: each step waits for a release in hand, which the next one sees.
create function drop_work(p_job bigint) returns boolean language plpgsql as
$$
declare
    was_out boolean;
begin
    update queues set closed = true where job = p_job;
    with gone as (delete from retries where job = p_job returning n, attempts)
    insert into exceptions (job, n, state, attempts) select p_job, n, 'cancelled', attempts from gone
        on conflict (job, n) do nothing;
    with gone as (delete from outstanding where job = p_job returning n, attempt, mask)
    insert into exceptions (job, n, state, attempts)
        select p_job, o.n - (o.n - 1) % 64 + i, 'cancelled', o.attempt
        from gone o cross join generate_series(0, 63) as i
        where o.mask >> i & 1 = 1
        on conflict (job, n) do nothing;
    was_out := found;
    delete from outbox where job_id = (select id from jobs where num = p_job);
    delete from blocks where job = p_job and exists (select 1 from jobs where num = p_job and state in ('accepted', 'planning'));
    return was_out;
end
$$;
-- +goose StatementEnd

create table artifacts (
    job_id        text             not null references jobs (id) on delete cascade,
    name          text             not null,
    media_type    text             not null,
    object_key    text             not null,
    bytes         bigint           not null,
    sha256        bytea            not null check (length(sha256) = 32),
    audio_seconds double precision,
    created_at    timestamptz      not null default now(),
    primary key (job_id, name)
);

-- Work that a state change made due: the join of a chapter, or the end of a job
-- where ordinal is 0. It takes turns like segments do. A row that is out has
-- released_at; one that was tried in vain too often is parked with its reason.
create table outbox (
    id           bigint generated always as identity primary key,
    kind         text        not null check (kind in ('assemble', 'finish')),
    job_id       text        not null references jobs (id) on delete cascade,
    ordinal      int         not null,
    attempt      int         not null default 0, -- releases so far
    started      int         not null default 0, -- deliveries that began and were not given back
    not_before   timestamptz not null default clock_timestamp(),
    released_at  timestamptz,
    parked_at    timestamptz,
    error_kind   text,
    error_detail text,
    created_at   timestamptz not null default clock_timestamp(),
    unique (kind, job_id, ordinal),
    check ((kind = 'finish') = (ordinal = 0)),
    check (parked_at is null or error_kind is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create table deliveries (
    id              text primary key check (id like 'dlv\_%'),
    tenant_id       text        not null references tenants (id),
    job_id          text        not null references jobs (id) on delete cascade,
    event           text        not null,
    ordinal         int         not null default 0, -- of the chapter for chapter.ready
    sequence        int         not null,           -- of the job's events, from 1; see number_delivery
    url             text        not null,
    payload         text        not null,
    state           text        not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts        int         not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_status     int,
    last_error      text,
    created_at      timestamptz not null default clock_timestamp(),
    delivered_at    timestamptz,
    unique (job_id, event, ordinal),
    unique (job_id, sequence),
    check ((state = 'delivered') = (delivered_at is not null))
);
-- +goose StatementBegin
-- number_delivery gives the events of a job their order. Whoever adds one holds the job's row.
create function number_delivery() returns trigger language plpgsql as
$$
begin
    select coalesce(max(sequence), 0) + 1 into new.sequence from deliveries where job_id = new.job_id;
    return new;
end
$$;
-- +goose StatementEnd
create trigger number_delivery before insert on deliveries for each row execute function number_delivery();

create index deliveries_due on deliveries (next_attempt_at) where state = 'pending';

create table delivery_attempts (
    delivery_id text        not null references deliveries (id) on delete cascade,
    n           int         not null,
    at          timestamptz not null default now(),
    status      int,
    error       text,
    duration_ms int         not null,
    primary key (delivery_id, n)
);

-- Virtual time: how far each tenant was served in a pool and class, in predicted
-- seconds divided by its weight; the row with the empty tenant is the system's.
create table virtual_times (
    pool   text             not null,
    class  text             not null check (class in ('interactive', 'bulk')),
    tenant text             not null,
    value  double precision not null,
    primary key (pool, class, tenant)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- +goose StatementBegin
-- advance_job moves a job on after its segments or chapters changed. It is the
-- only place that decides that a chapter or a job is due for assembly; whoever
-- makes segments or chapters final calls it in the same transaction, with the
-- job's row locked.
create function advance_job(p_job text) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    select * into j from jobs where id = p_job for update;
    if not found or j.finished_at is not null or j.state in ('accepted', 'planning') then
        return;
    end if;

    -- A chapter with a failed segment is joined without it only if the request allows it.
    with failed as (
        update chapters c
            set state = 'failed', error_kind = 'engine',
                error_detail = format('%s of %s segments failed', c.segments_failed, c.segments_total)
            where c.job_id = p_job and c.state = 'pending'
                and c.segments_done + c.segments_failed = c.segments_total
                and c.segments_failed > 0 and (j.on_failure = 'fail' or c.segments_done = 0)
            returning 1)
    update jobs set chapters_failed = chapters_failed + (select count(*) from failed), version = version + 1
        where id = p_job and exists (select 1 from failed);

    with due as (
        update chapters c set state = 'assembling'
            where c.job_id = p_job and c.state = 'pending'
                and c.segments_done + c.segments_failed = c.segments_total
            returning c.ordinal)
    -- The worker that spoke a job of one segment joins it itself; should it die, its turn comes.
    insert into outbox (kind, job_id, ordinal, not_before)
        select 'assemble', p_job, ordinal, clock_timestamp() + case when j.segments_total = 1 then interval '2 s' else interval '0' end
        from due
        on conflict (kind, job_id, ordinal) do nothing;

    select * into j from jobs where id = p_job;
    if j.segments_done + j.segments_reused + j.segments_failed = j.segments_total and j.state in ('queued', 'running') then
        update jobs set state = 'assembling', started_at = coalesce(started_at, now()), version = version + 1 where id = p_job;
    end if;
    if j.chapters_ready + j.chapters_failed = j.chapters_total then
        insert into outbox (kind, job_id, ordinal, not_before)
            values ('finish', p_job, 0, clock_timestamp() + case when j.segments_total = 1 then interval '2 s' else interval '0' end)
            on conflict (kind, job_id, ordinal) do nothing;
    end if;
end
$$;
-- +goose StatementEnd

-- A job's arrival is the moment its row is written. Whoever writes rows takes
-- lock_arrivals before it looks for cancellations; whoever finds no row and
-- wants to leave a cancellation takes lock_arrival and looks for the row again.
-- So one of the two always sees the other. The locks are advisory, shared among
-- 64 keys so that an envelope of thousands of jobs fits the lock table, and end
-- with the transaction. 1986097778 is "varr" in ASCII.

-- +goose StatementBegin
create function lock_arrivals(ids text[]) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1986097778, bucket)
    from (select distinct hashtext(id) & 63 as bucket from unnest(ids) as id) as buckets;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function lock_arrival(id text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1986097778, hashtext(id) & 63);
end
$$;
-- +goose StatementEnd
