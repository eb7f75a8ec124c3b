-- +goose Up

-- A digest of all that shapes the bytes of an encoded file: a chapter that another job
-- of the tenant has already, such as of the book before its revision, is not encoded again.
alter table artifacts add column made_of bytea check (length(made_of) = 32);
-- The object that made_of is said of. A worker of before puts another file into the row and says nothing of it.
alter table artifacts add column made_key text;
alter table artifacts add check (made_of is null or made_key is not null);
create index artifacts_made_of on artifacts (made_of) where made_of is not null;
