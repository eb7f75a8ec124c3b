-- +goose Up

-- What a document says of itself, beside title and author: series and place in it,
-- year, description, publisher. What the request says comes before it.
alter table jobs add column about jsonb not null default '{}';
