-- +goose Up

-- Which workers serve a pool, and whether they take its work. A worker says so every
-- few seconds; its row stays when it is gone, so that what waits for it can be told why.
create table pool_workers (
    pool           text        not null check (pool ~ '^[a-z0-9_-]{1,32}$'),
    worker         text        not null check (length(worker) between 1 and 128),
    seen_at        timestamptz not null default now(),
    waiting_since  timestamptz,
    waiting_reason text check (waiting_reason in ('starting', 'misconfigured', 'overloaded', 'sick')),
    primary key (pool, worker),
    check ((waiting_since is null) = (waiting_reason is null))
);

-- +goose StatementBegin
-- Since when a pool takes no work, and why; nothing while one of its workers does, or
-- if none was ever heard of.
create function pool_waiting(p_pool text) returns table (since timestamptz, reason text) language sql stable as
$$
    select case when alive > 0 then latest else seen end, case when alive > 0 then why else 'gone' end
    from (select count(*) as workers, max(seen_at) as seen,
              count(*) filter (where seen_at > now() - interval '30 seconds') as alive,
              count(*) filter (where seen_at > now() - interval '30 seconds' and waiting_since is null) as working,
              max(waiting_since) filter (where seen_at > now() - interval '30 seconds') as latest,
              (array_agg(waiting_reason order by waiting_since desc) filter (where seen_at > now() - interval '30 seconds'))[1] as why
          from pool_workers where pool = p_pool) w
    where workers > 0 and working = 0
$$;
-- +goose StatementEnd
