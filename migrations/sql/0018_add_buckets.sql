-- +goose Up

-- Buckets of owners, which files of their jobs are delivered into. The credentials
-- are sealed with a key that the database does not have; sealed_by says which.
create table buckets (
    id         text        primary key check (id like 'bkt\_%'),
    tenant_id  text        not null references tenants (id),
    name       text        not null check (length(name) <= 200),
    endpoint   text        not null,
    region     text        not null,
    bucket     text        not null,
    prefix     text        not null,
    path_style boolean     not null,
    sealed_by  text        not null,
    sealed     bytea       not null,
    tested_at  timestamptz not null, -- when what is here was seen to work
    created_at timestamptz not null default now()
);
create index buckets_by_tenant on buckets (tenant_id, created_at desc, id desc);
