-- +goose Up

-- A finished file held against the figures of the level that its job asked for
-- (docs/loudness.md). Null: it asked for none, or the file was not measured.
alter table artifacts
    add column loudness jsonb;
