-- +goose Up

-- The highest sequence of a job's deliveries that are kept no longer.
alter table jobs add column last_event int not null default 0;

-- +goose StatementBegin
-- number_delivery gives the events of a job their order, and holds one back while
-- another is pending. To the ordinals of what comes after a job was opened again
-- a million is added for each time. Whoever adds one holds the job's row.
create or replace function number_delivery() returns trigger language plpgsql as
$$
declare
    before deliveries;
begin
    select greatest(j.last_event, (select max(sequence) from deliveries where job_id = j.id)) + 1, new.ordinal + 1000000 * j.reopened
        into new.sequence, new.ordinal
    from jobs j where j.id = new.job_id;
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
