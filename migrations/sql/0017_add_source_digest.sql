-- +goose Up

-- What the document that a job was planned from holds, for the manifest: null if the
-- request listed its texts, or the job was planned before.
alter table jobs
    add column source_sha256 bytea check (length(source_sha256) = 32),
    add column source_bytes  bigint;
