-- +goose Up

-- Whether a voice takes instructions how to speak: its worker says so.
alter table voices add column instructions boolean not null default false;

-- The instructions of segments that have their own, empty where they are the job's; null
-- for a block without any, which all are that are there: nothing is read while the table is locked.
alter table blocks add column instructions text[],
    add constraint blocks_instructions_check check (instructions is null or cardinality(instructions) = cardinality(texts)) not valid;
