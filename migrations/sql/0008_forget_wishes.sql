-- +goose Up

-- A wish to cancel is of the life that a job had: it does not end the next one.
-- +goose StatementBegin
create function forget_wish() returns trigger language plpgsql as
$$
begin
    delete from cancellations where job_id = new.id;
    return new;
end
$$;
-- +goose StatementEnd
create trigger forget_wish before update of finished_at on jobs for each row
    when (old.finished_at is not null and new.finished_at is null) execute function forget_wish();
