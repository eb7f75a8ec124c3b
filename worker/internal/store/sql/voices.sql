-- name: PutVoice
-- A language has one default voice; the pool that named it first keeps it. A voice
-- stays with its pool as long as that has a worker.
insert into voices (name, pool, language, engine, sample_rate, is_default, licence, attribution, instructions)
select $1, $2, $3, $4, $5, $6::boolean and not exists (
    select 1 from voices where language = $3 and is_default and name <> $1), $7, $8, $9
on conflict (name) do update
set pool = excluded.pool, language = excluded.language, engine = excluded.engine,
    sample_rate = excluded.sample_rate, is_default = excluded.is_default,
    licence = excluded.licence, attribution = excluded.attribution, instructions = excluded.instructions, updated_at = now()
where voices.pool = excluded.pool or not exists (
    select 1 from pool_workers k where k.pool = voices.pool and k.seen_at > now() - interval '30 seconds');

-- name: PoolOfVoice
select pool from voices where name = $1;

-- name: VoicesOfJob
-- The voices that a job was planned with, those that are gone included.
select spoken.name, coalesce(v.engine, ''), coalesce(v.licence, ''), coalesce(v.attribution, '')
from (select distinct unnest(voices) as name from blocks where job = $1) spoken left join voices v using (name)
order by spoken.name;

-- name: LockVoices
select pg_advisory_xact_lock(hashtextextended('voicemill voices', 0));

-- name: PutEar
-- Whether a worker has an ear. Those that were not heard of for long go.
with gone as (
    delete from ears where worker = $1 and not $2 or worker <> $1 and updated_at < now() - interval '30 days')
insert into ears (worker) select $1 where $2 on conflict (worker) do update set updated_at = now();
