-- +goose Up

-- An event of a job waits for the one before it. Until now each claim of
-- deliveries looked at every event that waits so; from now on its row says it:
-- it is due at infinity, and whoever settles the event before it makes it due
-- (FreeNextDelivery). A scheduler of the version before leaves it held; the next
-- leader frees it (FreeDeliveries).
alter table deliveries add column held boolean not null default false;

-- +goose StatementBegin
-- number_delivery gives the events of a job their order, and holds one back while
-- another is pending. To the ordinals of what comes after a job was opened again
-- a million is added for each time. Whoever adds one holds the job's row.
create or replace function number_delivery() returns trigger language plpgsql as
$$
declare
    before deliveries;
begin
    select coalesce(max(sequence), 0) + 1 into new.sequence from deliveries where job_id = new.job_id;
    select new.ordinal + 1000000 * reopened into new.ordinal from jobs where id = new.job_id;
    if new.state <> 'pending' then
        return new;
    end if;
    select * into before from deliveries where job_id = new.job_id and state = 'pending' order by sequence desc limit 1;
    if found then
        new.held := true;
        new.next_attempt_at := case
            when before.attempts = 0 then 'infinity'
            else (select min(a.at) from deliveries e join delivery_attempts a on a.delivery_id = e.id and a.n = 1
                  where e.job_id = new.job_id and e.state = 'pending') + interval '1 minute' end;
    end if;
    return new;
end
$$;
-- +goose StatementEnd
