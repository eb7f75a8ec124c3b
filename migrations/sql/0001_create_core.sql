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
) with (fillfactor = 80);

create index jobs_by_tenant on jobs (tenant_id, accepted_at desc, id desc);
create index jobs_open on jobs (state, accepted_at) where finished_at is null;

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

create table segments (
    job_id            text             not null,
    n                 int              not null check (n >= 1), -- reading order over the whole job
    chapter           int              not null,
    text              text             not null,
    voice             text             not null,
    language          text             not null,
    pool              text             not null,
    pronunciations    jsonb,
    source_document   text             not null default '',
    source_start      bigint           not null default 0,
    source_end        bigint           not null default 0,
    break_after       text             not null check (break_after in ('none', 'sentence', 'paragraph', 'chapter')),
    predicted_seconds double precision not null check (predicted_seconds > 0),
    rendition_key     text             not null check (length(rendition_key) = 64),
    state             text             not null check (state in ('pending', 'released', 'done', 'reused', 'failed', 'cancelled')),
    attempt           int              not null default 0,
    not_before        timestamptz,
    released_at       timestamptz,
    done_at           timestamptz,
    sample_rate       int,
    audio_samples     bigint,
    verdict           text,
    error_kind        text,
    error_detail      text,
    primary key (job_id, n),
    foreign key (job_id, chapter) references chapters (job_id, ordinal) on delete cascade,
    check ((state in ('done', 'reused')) = (audio_samples is not null)),
    check ((state in ('done', 'reused')) = (done_at is not null)),
    check (state <> 'released' or (released_at is not null and attempt > 0)),
    check (state <> 'failed' or error_kind is not null)
) with (fillfactor = 70);

create index segments_pending on segments (job_id, n) where state = 'pending';
create index segments_released on segments (released_at) where state = 'released';
create index segments_failed on segments (job_id, n) where state = 'failed';
create index segments_by_chapter on segments (job_id, chapter, n);

-- A rendition is the immutable WAV of one segment text, voice, engine, … of one
-- tenant; key is the SHA-256 of everything that shapes it (package job, RenditionKey).
create table renditions (
    key         text primary key check (length(key) = 64),
    tenant_id   text        not null references tenants (id),
    object_key  text        not null,
    sample_rate int         not null,
    samples     bigint      not null check (samples > 0),
    bytes       bigint      not null,
    sha256      bytea       not null check (length(sha256) = 32),
    marks       jsonb, -- {"sentences":[[start,end,sample],…],"words":[…]}, byte ranges in the text
    engine      text        not null,
    created_at  timestamptz not null default now()
);

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

-- Work that a state change made due. ordinal 0 stands for the job itself.
create table outbox (
    id          bigint generated always as identity primary key,
    kind        text        not null check (kind in ('assemble', 'finish')),
    job_id      text        not null references jobs (id) on delete cascade,
    ordinal     int         not null,
    attempt     int         not null default 0,
    not_before  timestamptz not null default now(),
    released_at timestamptz,
    created_at  timestamptz not null default now(),
    unique (kind, job_id, ordinal),
    check ((kind = 'finish') = (ordinal = 0))
);
create index outbox_due on outbox (not_before) where released_at is null;

create table deliveries (
    id              text primary key check (id like 'dlv\_%'),
    tenant_id       text        not null references tenants (id),
    job_id          text        not null references jobs (id) on delete cascade,
    event           text        not null,
    ordinal         int         not null default 0, -- of the chapter for chapter.ready
    url             text        not null,
    payload         text        not null,
    state           text        not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts        int         not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_status     int,
    last_error      text,
    created_at      timestamptz not null default now(),
    delivered_at    timestamptz,
    unique (job_id, event, ordinal),
    check ((state = 'delivered') = (delivered_at is not null))
);
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

create table tenant_sched (
    tenant_id text             not null references tenants (id),
    class     text             not null check (class in ('interactive', 'bulk')),
    vtime     double precision not null default 0,
    primary key (tenant_id, class)
);

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
    insert into outbox (kind, job_id, ordinal) select 'assemble', p_job, ordinal from due
        on conflict (kind, job_id, ordinal) do nothing;

    select * into j from jobs where id = p_job;
    if j.segments_done + j.segments_reused + j.segments_failed = j.segments_total and j.state in ('queued', 'running') then
        update jobs set state = 'assembling', started_at = coalesce(started_at, now()), version = version + 1 where id = p_job;
    end if;
    if j.chapters_ready + j.chapters_failed = j.chapters_total then
        insert into outbox (kind, job_id, ordinal) values ('finish', p_job, 0) on conflict (kind, job_id, ordinal) do nothing;
    end if;
end
$$;
-- +goose StatementEnd
