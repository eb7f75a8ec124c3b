-- +goose Up

-- A job's arrival is the moment its row is written. Whoever writes rows takes
-- lock_arrivals before it looks for cancellations; whoever finds no row and
-- wants to leave a cancellation takes lock_arrival and looks for the row again.
-- So one of the two always sees the other. The locks are advisory, shared among
-- 64 keys so that an envelope of thousands of jobs fits the lock table, and end
-- with the transaction. 1986097778 is "varr" in ASCII.

-- +goose StatementBegin
create function lock_arrivals(ids text[]) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1986097778, bucket)
    from (select distinct hashtext(id) & 63 as bucket from unnest(ids) as id) as buckets;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function lock_arrival(id text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1986097778, hashtext(id) & 63);
end
$$;
-- +goose StatementEnd
