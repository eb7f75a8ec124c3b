-- +goose Up

-- The events of a job go out in the order of created_at. now() is the time at
-- which a transaction began: one that then waited for the job's lock wrote an
-- event older than that of the transaction it had waited for. The same holds
-- for started_at and finished_at, which the statements set by clock_timestamp().
alter table deliveries alter created_at set default clock_timestamp();
