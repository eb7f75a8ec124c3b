-- +goose Up

-- What is told of doubtful segments quotes the text, and goes with it; the figures stay.

-- +goose StatementBegin
create or replace function forget_text(p_job bigint) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
begin
    perform tally_job(p_job);
    select * into j from jobs where num = p_job;
    delete from blocks where job = p_job;
    delete from artifacts where job_id = j.id and name = 'manifest.json';
    update jobs set spec = spec #- '{input,text}' #- '{input,segments}', source_key = null, source_etag = null,
        quality = jsonb_set(quality, '{stretches}', '[]'), kept = kept & 2, version = version + 1
    where num = p_job;
    perform drop_source(j.source_key);
end
$$;
-- +goose StatementEnd
