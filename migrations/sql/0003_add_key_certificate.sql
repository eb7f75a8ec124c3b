-- +goose Up

-- Whether the hash is that of a client certificate's public key, not of a secret.
alter table api_keys add column certificate boolean not null default false;
