-- name: Pools
-- Every pool that a worker has made voices of known.
select distinct pool from voices order by pool;
