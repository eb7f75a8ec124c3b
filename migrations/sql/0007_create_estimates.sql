-- +goose Up

-- When jobs are expected to end. The leader writes a row when it has something to
-- say that is news; the first one stays, to be compared with what came.
create table estimates (
    job        bigint      primary key references jobs (num) on delete cascade,
    eta        timestamptz not null,
    eta_low    timestamptz not null,
    eta_high   timestamptz not null,
    pool       text,    -- in which its turn has not come
    place      int,     -- its place there, from 1; null while something of it is out
    first_at   timestamptz not null default now(),
    first_eta  timestamptz not null,
    first_low  timestamptz not null,
    first_high timestamptz not null,
    check ((pool is null) = (place is null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
