-- Commands on work that is there. What each does, and in which order, is said in
-- the migration that makes its function.

-- name: PauseJob
select * from pause_job($1, nullif($2, ''));

-- name: ResumeJob
select * from resume_job($1, nullif($2, ''));

-- name: RedriveJob
select * from redrive_job($1, nullif($2, ''));

-- name: DeliverJob
select * from deliver_job($1, nullif($2, ''));

-- name: SetJob
select * from set_job($1, nullif($2, ''), $3, $4, $5);

-- name: SegmentToRedo
-- What the rendition key of a segment is made of, as the job has it now.
select j.tenant_id, s.voice, s.language, s.pool, s.sample_rate, coalesce(v.engine, ''), coalesce((j.spec ->> 'speed')::double precision, 1),
       coalesce(d.seed, (j.spec ->> 'seed')::bigint, 0), d.seed, d.spoken,
       b.texts[($2::int - 1) % 64 + 1], coalesce(b.pronunciations ->> (($2::int - 1) % 64), ''),
       coalesce(nullif(b.instructions[($2::int - 1) % 64 + 1], ''), j.spec ->> 'instructions', ''), encode(s.rendition_key, 'hex')
from jobs j
         cross join lateral segments_between(j.num, $2::int, $2::int) s
         join blocks b on b.job = j.num and b.b = ($2::int - 1) / 64
         left join voices v on v.name = s.voice
         left join redos d on d.job = j.num and d.n = s.n
where j.id = $1 and ($3 = '' or j.tenant_id = $3)
for no key update of j;

-- name: RedoSegment
select * from redo_segment($1, nullif($2, ''), $3, $4, $5, $6);
