-- name: FateOf
-- What is known of a job without a row.
select exists (select from cancellations where job_id = $1), exists (select from tombstones where job_id = $1);

-- name: JobVersions
select id, version, segments_done + segments_reused + segments_failed > 0, finished_at is not null from jobs where id = any ($1::text[])
union all
select c.job_id, 0, false, true from cancellations c
where c.job_id = any ($1::text[]) and not exists (select 1 from jobs j where j.id = c.job_id)
union all
select d.job_id, 0, false, true from tombstones d
where d.job_id = any ($1::text[]) and not exists (select 1 from cancellations c where c.job_id = d.job_id);

-- name: JobArrived
-- Whether the scheduler has, or had, the job.
select exists (select 1 from jobs where id = $1) or exists (select 1 from tombstones where job_id = $1);

-- name: PlanForValues
-- What follows in the transaction is planned for its values: which index serves a list
-- depends on them.
select set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: ListJobs
select j.id, j.tenant_id, j.class, j.state, j.version, j.labels, j.title, j.language,
       j.segments_total, j.segments_done, j.segments_reused, j.segments_failed, j.chapters_total, j.chapters_ready,
       j.characters, j.predicted_seconds, j.done_seconds, j.audio_seconds, j.reused_seconds, j.gpu_seconds,
       j.error_kind, j.error_detail, j.accepted_at, j.started_at, j.finished_at
from jobs j
where j.tenant_id = $1
  and ($2::timestamptz is null or (j.accepted_at, j.id) < ($2::timestamptz, $3::text))
  and (cardinality($4::text[]) = 0 or j.state = any ($4::text[]))
  and ($5::text = '' or j.class = $5::text)
  and j.labels @> $6::jsonb
  and ($7::timestamptz is null or j.accepted_at >= $7::timestamptz)
  and ($8::timestamptz is null or j.accepted_at < $8::timestamptz)
order by j.accepted_at desc, j.id desc
limit $9;

-- name: SegmentRange
-- The segments that a list may look at: those of one chapter, or all.
select j.num, coalesce(c.first_segment, 1), coalesce(c.first_segment + c.segments_total - 1, j.segments_total)
from jobs j
         left join chapters c on c.job_id = j.id and c.ordinal = $2
where j.id = $1 and ($2 = 0 or c.ordinal is not null);

-- name: ListSegments
select s.n, s.chapter, s.text, s.voice, s.language, s.state, s.attempt, s.predicted_seconds,
       coalesce(r.samples::double precision / r.sample_rate, 0), coalesce(r.hearing ->> 'kind', r.verdict, ''), r.hearing ->> 'heard', coalesce((r.hearing ->> 'tries')::int, 0),
       coalesce(s.error_kind, ''), coalesce(s.error_detail, ''), s.source_document, s.source_start, s.source_end
from segments_between($1, $2, $3) s
         left join renditions r on r.key = s.rendition_key and s.state in ('done', 'reused')
where cardinality($4::text[]) = 0 or s.state = any ($4::text[])
order by s.n
limit $5;

-- name: FindArtifact
select a.object_key, a.media_type from artifacts a join jobs j on j.id = a.job_id
where a.job_id = $1 and a.name = $2 and j.tenant_id = $3;

-- name: Track
-- A job and the next of its segments in one snapshot; one row without a segment
-- if there are none.
select j.version, j.state, j.segments_total, coalesce(j.spec -> 'output' -> 'pauses', 'null'), coalesce(j.error_kind, ''), coalesce(j.error_detail, ''),
       coalesce(s.n, 0), coalesce(s.chapter, 0), coalesce(s.state, ''), coalesce(s.break_after, ''), coalesce(s.error_detail, ''),
       coalesce(rendition_object(j.tenant_id, r.key, r.suffix), ''), coalesce(r.sample_rate, 0), coalesce(r.samples, 0), coalesce(r.bytes, 0)
from jobs j
         left join lateral (select n, chapter, state, break_after, error_detail, rendition_key
                            from segments_between(j.num, $3::int + 1, least($3::int + $4::int, j.segments_total))) s on true
         left join renditions r on r.key = s.rendition_key and s.state in ('done', 'reused')
where j.id = $1 and j.tenant_id = $2
order by s.n;
