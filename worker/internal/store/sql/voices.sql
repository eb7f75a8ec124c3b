-- name: PutVoice
-- A language has one default voice; the pool that named it first keeps it.
insert into voices (name, pool, language, engine, sample_rate, is_default)
select $1, $2, $3, $4, $5, $6::boolean and not exists (
    select 1 from voices where language = $3 and is_default and name <> $1)
on conflict (name) do update
set pool = excluded.pool, language = excluded.language, engine = excluded.engine,
    sample_rate = excluded.sample_rate, is_default = excluded.is_default, updated_at = now();

-- name: LockVoices
select pg_advisory_xact_lock(hashtextextended('voicemill voices', 0));
