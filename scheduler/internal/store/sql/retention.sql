-- What is kept for a time. Each statement takes the numbers of some tenants ($1), what
-- is kept by default in seconds ($2; 0 is without end) and how many rows of jobs,
-- deliveries or renditions go at most ($3). What it looks at does not grow with what
-- is kept.

-- name: TenantsAfter
select num from tenants where num > $1 order by num limit $2;

-- name: ForgetTexts
select count(forget_text(o.num)) from (
    select j.num
    from unnest($1::int[]) as n (num)
             cross join lateral (select id, coalesce(keep_text, make_interval(secs => $2)) as keep from tenants where num = n.num offset 0) t
             cross join lateral (
        select num from jobs
        where tenant_id = t.id and kept = any (array[1, 3]::smallint[]) and finished_at < now() - t.keep and t.keep > '0'
          and not exists (select from exports where job = jobs.num and state = 'pending')
        limit $3
        for no key update skip locked) j
    limit $3) o;

-- name: ForgetAudio
select count(forget_audio(o.num)) from (
    select j.num
    from unnest($1::int[]) as n (num)
             cross join lateral (select id, coalesce(keep_audio, make_interval(secs => $2)) as keep from tenants where num = n.num offset 0) t
             cross join lateral (
        select num from jobs
        where tenant_id = t.id and kept = any (array[2, 3]::smallint[]) and finished_at < now() - t.keep and t.keep > '0'
          and not exists (select from exports where job = jobs.num and state = 'pending')
        limit $3
        for no key update skip locked) j
    limit $3) o;

-- name: ForgetJobs
select count(forget_job(o.num)) from (
    select j.num
    from unnest($1::int[]) as n (num)
             cross join lateral (select id, coalesce(keep_jobs, make_interval(secs => $2)) as keep from tenants where num = n.num offset 0) t
             cross join lateral (
        select num from jobs
        where tenant_id = t.id and kept = any (array[0, 1, 2, 3]::smallint[]) and finished_at < now() - t.keep and t.keep > '0'
          and not exists (select from exports where job = jobs.num and state = 'pending')
        limit $3
        for update skip locked) j
    limit $3) o;

-- name: ForgetDeliveries
-- The job keeps the last number of what goes, so that the next event has another.
with gone as (
    delete from deliveries d
    using (
        select o.id
        from unnest($1::int[]) as n (num)
                 cross join lateral (select id, coalesce(keep_deliveries, make_interval(secs => $2)) as keep from tenants where num = n.num offset 0) t
                 cross join lateral (
            select id from deliveries
            where tenant_id = t.id and state <> 'pending' and created_at < now() - t.keep and t.keep > '0'
            order by created_at limit $3) o
        limit $3) o
    where d.id = o.id
    returning d.job_id, d.sequence),
numbered as (
    update jobs j set last_event = greatest(j.last_event, g.sequence)
    from (select job_id, max(sequence) as sequence from gone group by job_id) g
    where j.id = g.job_id)
select count(*) from gone;

-- name: EvictRenditions
-- Those that no plan counted on for so long, and none of an open job does. The day
-- stands twice: a plan may touch one meanwhile, and then it stays.
with gone as (
    delete from renditions r
    using (
        select o.key
        from unnest($1::int[]) as n (num)
                 cross join lateral (select id, num, coalesce(keep_renditions, make_interval(secs => $2)) as keep from tenants where num = n.num offset 0) t
                 left join lateral (select accepted_at from jobs where tenant_id = t.id and finished_at is null order by accepted_at limit 1) oldest on true
                 cross join lateral (
            select key from renditions
            where tenant = t.num and t.keep > '0'
              and used_on < least((now() - t.keep) at time zone 'utc', now() at time zone 'utc', oldest.accepted_at at time zone 'utc')::date
            order by used_on limit $3) o
        limit $3) o
    where r.key = o.key and r.used_on < (now() at time zone 'utc')::date
    returning 1)
select count(*) from gone;

-- name: EvictSurplus
-- The same for what a tenant has beyond its bytes ($2 by default), whatever its age:
-- what was not used for longest goes first, and nothing that was used today.
with gone as (
    delete from renditions r
    using (
        select o.key
        from unnest($1::int[]) as n (num)
                 cross join lateral (select id, num, coalesce(keep_rendition_bytes, $2::bigint) as most from tenants where num = n.num offset 0) t
                 cross join lateral (select renditions - t.most as surplus from stored where tenant = t.num and t.most > 0 and renditions > t.most offset 0) s
                 left join lateral (select accepted_at from jobs where tenant_id = t.id and finished_at is null order by accepted_at limit 1) oldest on true
                 cross join lateral (
            select key, sum(bytes) over (order by used_on, key rows between unbounded preceding and current row) - bytes as before
            from (select key, bytes, used_on from renditions
                  where tenant = t.num and used_on < least(now() at time zone 'utc', oldest.accepted_at at time zone 'utc')::date
                  order by used_on limit $3) old) o
        where o.before < s.surplus
        limit $3) o
    where r.key = o.key and r.used_on < (now() at time zone 'utc')::date
    returning 1)
select count(*) from gone;

-- name: SumStored
-- Adds what changed to the sums, at most $1 rows of it.
with changes as (
    delete from stored_changes where ctid = any (array(select ctid from stored_changes limit $1))
    returning tenant, renditions, artifacts, uploads)
insert into stored as s (tenant, renditions, artifacts, uploads)
select tenant, sum(renditions), sum(artifacts), sum(uploads) from changes group by tenant order by tenant
on conflict (tenant) do update
set renditions = s.renditions + excluded.renditions, artifacts = s.artifacts + excluded.artifacts, uploads = s.uploads + excluded.uploads;

-- name: Garbage
select object_key, object_named(object_key), created_at from garbage
where gone_at is null and created_at < clock_timestamp() - make_interval(secs => $1)
order by created_at limit $2;

-- name: ForgetGarbage
-- Names of objects that a row names after all.
delete from garbage where object_key = any ($1::text[]);

-- name: GarbageGone
update garbage set gone_at = clock_timestamp() where object_key = any ($1::text[]);

-- name: Orphans
-- Which of these no row names, and nobody is about to delete.
select k from unnest($1::text[]) as k
where not object_named(k) and not exists (select from garbage where object_key = k);

-- name: DropOrphans
select count(drop_object(k)) from unnest($1::text[]) as k where not object_named(k);

-- name: TallyJobs
-- Adds jobs that have ended to usage_days, at most $1.
with t as (
    select num from jobs where finished_at is not null and tallied is null
    order by tenant_id, num limit $1 for no key update skip locked),
j as (
    update jobs j set tallied = spoken_characters(j.num, j.state, j.characters, j.segments_total) from t where j.num = t.num
    returning j.tenant_id, (j.accepted_at at time zone 'utc')::date as day, j.key_id, j.tallied, j.audio_seconds, j.reused_seconds, j.gpu_seconds),
added as (
    insert into usage_days as u (tenant_id, day, key_id, jobs, characters, audio_seconds, reused_seconds, gpu_seconds)
    select tenant_id, day, key_id, count(*), sum(tallied), sum(audio_seconds), sum(reused_seconds), sum(gpu_seconds)
    from j group by 1, 2, 3 order by 1, 2, 3
    on conflict (tenant_id, day, key_id) do update
    set jobs = u.jobs + excluded.jobs, characters = u.characters + excluded.characters, audio_seconds = u.audio_seconds + excluded.audio_seconds,
        reused_seconds = u.reused_seconds + excluded.reused_seconds, gpu_seconds = u.gpu_seconds + excluded.gpu_seconds)
select count(*) from j;
