-- Queries of the test.

-- name: One
-- It has a comment.
select 1;

-- name: TwoLines
select count(*)
from tenants
where id = $1;
