-- +goose Up

-- Hearing back what was spoken: who can, what was heard, and what it proves.

-- The workers that have an ear. They write their rows when they start.
create table ears (
    worker     text        primary key,
    updated_at timestamptz not null default now()
);

-- What a recogniser made of a rendition (job.Hearing). Null: it was not heard.
alter table renditions add column hearing jsonb;

-- What hearing a job's audio proved, when it ended (job.Quality). Null: it was not to be heard.
alter table jobs add column quality jsonb;
