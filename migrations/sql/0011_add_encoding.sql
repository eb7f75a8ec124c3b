-- +goose Up

-- Files beside the WAV of each chapter: what workers can make, what is due and
-- what was made.

-- What each worker can encode. Workers write their rows when they start.
create table encoders (
    worker     text        not null,
    format     text        not null check (format in ('m4b', 'mp3', 'opus', 'flac')),
    updated_at timestamptz not null default now(),
    primary key (worker, format)
);

alter table jobs
    add column author text not null default '', -- as the document names it
    add column bound_at timestamptz; -- when the files of the whole book were made of all its chapters
alter table chapters
    add column encoded_at timestamptz; -- when the other files were made of the chapter's WAV
alter table artifacts
    add column coded_samples bigint; -- of all its packets, what the encoder puts before and behind included

-- Encoding is a third kind of what is due: of a chapter, or where ordinal is 0 of
-- the whole book, which is bound of the chapters' files.
alter table outbox
    drop constraint outbox_kind_check,
    drop constraint outbox_check,
    add constraint outbox_kind_check check (kind in ('assemble', 'encode', 'finish')),
    add constraint outbox_ordinal_check check (kind = 'encode' or (kind = 'finish') = (ordinal = 0));

-- +goose StatementBegin
-- As before, but a chapter that is ready is due for encoding if the request asks
-- for more than WAV, the book when all chapters are final and encoded, and the
-- end when no encoding is due any more. One that was parked holds nothing up:
-- the job ends with its reason.
create or replace function advance_job(p_job text) returns void language plpgsql as
$$
declare
    j jobs%rowtype;
    encodes boolean;
begin
    select * into j from jobs where id = p_job for update;
    if not found or j.finished_at is not null or j.state in ('accepted', 'planning') then
        return;
    end if;
    encodes := coalesce(j.spec #> '{output,formats}', '[]') - 'wav' <> '[]';

    -- A chapter with a failed segment is joined without it only if the request allows it.
    with failed as (
        update chapters c
            set state = 'failed', error_kind = 'engine',
                error_detail = format('%s of %s segments failed', c.segments_failed, c.segments_total)
            where c.job_id = p_job and c.state = 'pending'
                and c.segments_done + c.segments_failed = c.segments_total
                and c.segments_failed > 0 and (j.on_failure = 'fail' or c.segments_done = 0)
            returning 1)
    update jobs set chapters_failed = chapters_failed + (select count(*) from failed), version = version + 1
        where id = p_job and exists (select 1 from failed);

    with due as (
        update chapters c set state = 'assembling'
            where c.job_id = p_job and c.state = 'pending'
                and c.segments_done + c.segments_failed = c.segments_total
            returning c.ordinal)
    -- The worker that spoke a job of one segment joins it itself; should it die, its turn comes.
    insert into outbox (kind, job_id, ordinal, not_before)
        select 'assemble', p_job, ordinal, clock_timestamp() + case when j.segments_total = 1 then interval '2 s' else interval '0' end
        from due
        on conflict (kind, job_id, ordinal) do nothing;
    if encodes then
        insert into outbox (kind, job_id, ordinal)
            select 'encode', p_job, ordinal from chapters where job_id = p_job and state = 'ready' and encoded_at is null
            on conflict (kind, job_id, ordinal) do nothing;
    end if;

    select * into j from jobs where id = p_job;
    if j.segments_done + j.segments_reused + j.segments_failed = j.segments_total and j.state in ('queued', 'running') then
        update jobs set state = 'assembling', started_at = coalesce(started_at, now()), version = version + 1 where id = p_job;
    end if;
    if j.chapters_ready + j.chapters_failed < j.chapters_total then
        return;
    end if;
    if encodes and j.bound_at is null and j.chapters_ready > 0
        and not exists (select from chapters where job_id = p_job and state = 'ready' and encoded_at is null) then
        insert into outbox (kind, job_id, ordinal) values ('encode', p_job, 0) on conflict (kind, job_id, ordinal) do nothing;
    end if;
    if not exists (select from outbox where kind = 'encode' and job_id = p_job and parked_at is null) then
        insert into outbox (kind, job_id, ordinal, not_before)
            values ('finish', p_job, 0, clock_timestamp() + case when j.segments_total = 1 then interval '2 s' else interval '0' end)
            on conflict (kind, job_id, ordinal) do nothing;
    end if;
end
$$;
-- +goose StatementEnd
