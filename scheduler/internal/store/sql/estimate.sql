-- When jobs are expected to end, and what came of it.

-- name: SaveEstimates
insert into estimates (job, eta, eta_low, eta_high, pool, place, first_eta, first_low, first_high)
select e.job, e.eta, e.low, e.high, nullif(e.pool, ''), nullif(e.place, 0), e.eta, e.low, e.high
from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::int[]) as e (job, eta, low, high, pool, place)
         join jobs j on j.num = e.job
where j.finished_at is null
order by e.job
on conflict (job) do update
set eta = excluded.eta, eta_low = excluded.eta_low, eta_high = excluded.eta_high, pool = excluded.pool, place = excluded.place;

-- name: Outcomes
-- Which of these jobs have ended with their audio, when, and what was first said of them.
select j.num, j.class, j.state in ('succeeded', 'partial'), j.finished_at is not null, coalesce(j.finished_at, now()), e.first_at, e.first_eta, e.first_low, e.first_high
from jobs j join estimates e on e.job = j.num
where j.num = any ($1::bigint[]);
