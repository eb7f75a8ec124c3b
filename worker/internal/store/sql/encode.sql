-- Encoding what was joined. Every change is fenced by what was encoded: a chapter
-- by its WAV, a book by when its chapters were.

-- name: PutEncoders
-- What a worker can encode, in place of what it said before. Those that were not heard of for long go.
with gone as (
    delete from encoders where (worker = $1 and format <> all ($2)) or updated_at < now() - interval '30 days')
insert into encoders (worker, format) select $1, unnest($2::text[])
on conflict (worker, format) do update set updated_at = now();

-- name: Encoding
select num, tenant_id, class, finished_at is not null, chapters_ready + chapters_failed = chapters_total, bound_at is not null,
    chapters_total, title, author, about, language, coalesce(spec -> 'output', '{}'), coalesce(spec ->> 'voice', '')
from jobs where id = $1;

-- name: Manuscript
-- The document that a job was made of, as it was uploaded.
select coalesce(source_key, ''), coalesce(source_etag, ''), coalesce(spec #>> '{input,media_type}', '') from jobs where id = $1;

-- name: EncodingChapter
select state = 'ready' and encoded_at is null, title, coalesce(object_key, ''), coalesce(bytes, 0), coalesce(sha256, ''),
    coalesce(sample_rate, 0), coalesce(audio_samples, 0), attempts
from chapters where job_id = $1 and ordinal = $2;

-- name: EncodedAt
-- When the last chapter was encoded; null while one is not.
select case when bool_and(encoded_at is not null) then max(encoded_at) end from chapters where job_id = $1 and state = 'ready';

-- name: EncodedChapters
-- Chapters with their file of one kind, $2 in place of wav.
select c.ordinal, c.title, c.sample_rate, c.audio_samples, a.object_key, a.bytes, a.sha256, a.coded_samples
from chapters c join artifacts a on a.job_id = c.job_id and a.name = left(c.artifact, -3) || $2
where c.job_id = $1 and c.state = 'ready' and c.ordinal > $3
order by c.ordinal limit $4;

-- name: CoverOf
select name, media_type, object_key, bytes, sha256 from artifacts where job_id = $1 and name in ('cover.jpg', 'cover.png') limit 1;

-- name: AddEncoded
insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds, coded_samples, loudness, made_of, made_key)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $4)
on conflict (job_id, name) do update
set media_type = excluded.media_type, object_key = excluded.object_key, bytes = excluded.bytes, sha256 = excluded.sha256,
    audio_seconds = excluded.audio_seconds, coded_samples = excluded.coded_samples, loudness = excluded.loudness,
    made_of = excluded.made_of, made_key = excluded.made_key, created_at = now();

-- name: Made
-- A file that was made of the same, of whichever job; not one that a worker of before put in its place.
select object_key, bytes, sha256, coded_samples, loudness from artifacts where made_of = $1 and made_key = object_key limit 1;

-- name: ChapterEncoded
update chapters set encoded_at = clock_timestamp()
where job_id = $1 and ordinal = $2 and state = 'ready' and encoded_at is null and object_key = $3;

-- name: BookBound
update jobs set bound_at = clock_timestamp()
where id = $1 and bound_at is null and chapters_ready + chapters_failed = chapters_total
    and $2 = (select case when bool_and(encoded_at is not null) then max(encoded_at) end from chapters where job_id = $1 and state = 'ready');

-- name: CountEncoded
update jobs set version = version + 1 where id = $1;

-- name: DropStaleEncoding
-- Only what is not due, as with joins.
delete from outbox o using jobs j
where o.kind = 'encode' and o.job_id = $1 and o.ordinal = $2 and j.id = o.job_id
    and (j.finished_at is not null
        or o.ordinal > 0 and not exists (
            select from chapters c where c.job_id = o.job_id and c.ordinal = o.ordinal and c.state = 'ready' and c.encoded_at is null)
        or o.ordinal = 0 and (j.bound_at is not null or j.chapters_ready + j.chapters_failed < j.chapters_total
            or exists (select from chapters c where c.job_id = o.job_id and c.state = 'ready' and c.encoded_at is null)));

-- name: FirstParkedEncoding
select ordinal, error_kind, coalesce(error_detail, '') from outbox
where kind = 'encode' and job_id = $1 and parked_at is not null order by ordinal limit 1;
