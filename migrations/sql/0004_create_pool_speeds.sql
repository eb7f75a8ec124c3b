-- +goose Up

-- What workers told of themselves, for when none of a pool is there: how many
-- seconds of audio one makes in a second of work, and how long it takes from its
-- start to its first speech, in seconds. 0 is not known.
create table pool_speeds (
    pool       text             primary key check (pool ~ '^[a-z0-9_-]{1,32}$'),
    audio      double precision not null check (audio >= 0),
    cold_start double precision not null check (cold_start >= 0),
    told_at    timestamptz      not null default now()
);
