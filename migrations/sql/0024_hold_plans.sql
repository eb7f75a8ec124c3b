-- +goose Up

-- hold_plans locks jobs that are planned under these attempts, and fails the batch
-- that it begins when one of them is not any more: a plan of few blocks is stored in
-- one round trip, whose statements cannot be told which of the jobs to leave out. A
-- job that is to be cancelled is planned no further, so that its cancel comes to the row.
-- +goose StatementBegin
create function hold_plans(p_nums bigint[], p_attempts int[]) returns void language plpgsql as
$$
declare
    held bigint;
begin
    perform from unnest(p_nums, p_attempts) as p (num, attempt)
                     join jobs j on j.num = p.num
    where j.state = 'planning' and j.plan_attempts = p.attempt
        and not exists (select from cancellations c where c.job_id = j.id and c.tenant_id = j.tenant_id)
    order by j.id
    for update of j;
    get diagnostics held = row_count;
    if held < cardinality(p_nums) then
        raise exception '% of % plans are not theirs any more', cardinality(p_nums) - held, cardinality(p_nums) using errcode = 'VM002';
    end if;
end
$$;
-- +goose StatementEnd
