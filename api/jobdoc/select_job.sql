select j.id, j.tenant_id, j.class, j.state, j.version, j.labels, j.title, j.language,
       j.segments_total, j.segments_done, j.segments_reused, j.segments_failed, j.chapters_total, j.chapters_ready,
       j.characters, j.predicted_seconds, j.done_seconds, j.audio_seconds, j.reused_seconds, j.gpu_seconds,
       j.error_kind, j.error_detail, j.accepted_at, j.started_at, j.finished_at,
       (select json_agg(json_build_object(
                   'ordinal', c.ordinal, 'title', c.title, 'state', c.state,
                   'audio_seconds', coalesce(c.audio_samples::double precision / nullif(c.sample_rate, 0), 0),
                   'artifact', coalesce(c.artifact, ''),
                   'error', case when c.error_kind is null then null
                                 else json_build_object('kind', c.error_kind, 'detail', coalesce(c.error_detail, '')) end)
                   order by c.ordinal)
        from chapters c where c.job_id = j.id),
       (select json_agg(json_build_object(
                   'name', a.name, 'media_type', a.media_type, 'bytes', a.bytes, 'sha256', encode(a.sha256, 'hex'),
                   'audio_seconds', coalesce(a.audio_seconds, 0), 'loudness', a.loudness,
                   'delivered_to', (select x.path from export_files x where x.job = j.num and x.name = a.name and x.done_at is not null))
                   order by a.name)
        from artifacts a where a.job_id = j.id),
       (select json_agg(json_build_object(
                   'segment', f.n, 'chapter', f.chapter, 'kind', f.error_kind, 'detail', coalesce(f.error_detail, ''),
                   'attempts', f.attempts)
                   order by f.n)
        from (select e.n, e.error_kind, e.error_detail, e.attempts,
                     (select ordinal from chapters c where c.job_id = j.id and c.first_segment <= e.n
                      order by c.first_segment desc limit 1) as chapter
              from exceptions e where e.job = j.num and e.state = 'failed' order by e.n limit 100) f),
       case when j.finished_at is not null then null
            when j.paused_at is not null then json_build_object('pool', '', 'since', j.paused_at, 'reason', 'paused')
            else coalesce(
           (select json_build_object('pool', p.pool, 'since', w.since, 'reason', w.reason)
            from (select pool from queues where job = j.num
                  union select pool from outstanding where job = j.num
                  union select pool from retries where job = j.num) p
                     cross join lateral pool_waiting(p.pool) w
            order by w.since limit 1),
           (select json_build_object('pool', e.pool, 'since', j.accepted_at, 'reason', 'turn', 'place', e.place)
            where e.place is not null and j.state in ('queued', 'running'))) end,
       case when j.finished_at is not null then j.quality end,
       (select json_build_object(
                   'state', x.state, 'bucket', x.bucket_id, 'files', json_build_object('total', x.files_total, 'done', x.files_done),
                   'error', case when x.error_kind is not null then json_build_object('kind', x.error_kind, 'detail', coalesce(x.error_detail, '')) end,
                   'ended_at', x.ended_at)
        from exports x where x.job = j.num),
       e.eta, e.eta_low, e.eta_high, e.first_at, e.first_eta, e.first_low, e.first_high
from jobs j left join estimates e on e.job = j.num
where j.id = $1
