package plantest

import (
	"context"
	"fmt"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Release releases everything of p that may be released now, and returns the bundles.
func Release(ctx context.Context, pool *pg.Pool, p Plan) ([]bus.Bundle, error) {
	if _, err := pool.Exec(ctx, `update jobs set state = 'running', started_at = coalesce(started_at, clock_timestamp()), version = version + 1
		where id = $1 and state = 'queued'`, p.ID); err != nil {
		return nil, fmt.Errorf("start job: %w", err)
	}
	fresh, err := first(ctx, pool, p)
	if err != nil {
		return nil, err
	}
	again, err := retries(ctx, pool, p)
	return append(fresh, again...), err
}

// first releases what was not released yet: the cursor goes, and every bundle gets its row.
func first(ctx context.Context, pool *pg.Pool, p Plan) ([]bus.Bundle, error) {
	var bundles []bus.Bundle
	var ns []int
	cut := func() {
		if len(ns) > 0 {
			bundles = append(bundles, p.Bundle(1, p.solo[ns[0]], ns...))
		}
		ns = nil
	}
	for n := 1; n <= len(p.Segments); n++ {
		if len(ns) > 0 && (len(ns) == bus.MaxBundleSegments || (n-1)%bus.BlockSegments == 0 || p.solo[n] || p.solo[ns[0]]) {
			cut()
		}
		ns = append(ns, n)
	}
	cut()
	names, masks, solos := make([]int32, len(bundles)), make([]int64, len(bundles)), make([]bool, len(bundles))
	for i, b := range bundles {
		names[i], solos[i] = int32(b.N()), b.Solo //nolint:gosec // small
		for _, g := range b.Segments {
			masks[i] |= 1 << ((g.N - 1) % bus.BlockSegments)
		}
	}
	tag, err := pool.Exec(ctx, `with q as (delete from queues where job = $1 and not closed returning job, pool)
		insert into outstanding (job, n, attempt, pool, mask, seconds, solo)
		select q.job, u.n, 1, q.pool, u.mask, 1, u.solo from q cross join unnest($2::int[], $3::bigint[], $4::boolean[]) as u (n, mask, solo)`, p.Num, names, masks, solos)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil, nil
	}
	return bundles, nil
}

// retries releases what comes again, each segment by itself.
func retries(ctx context.Context, pool *pg.Pool, p Plan) ([]bus.Bundle, error) {
	rows, err := pool.Query(ctx, `with r as (delete from retries where job = $1 and not_before <= clock_timestamp() returning *)
		insert into outstanding (job, n, attempt, pool, mask, seconds, solo, deaths)
		select job, n, attempts + 1, pool, 1::bigint << ((n - 1) % 64), 1, solo, deaths from r returning n, attempt, solo`, p.Num)
	if err != nil {
		return nil, fmt.Errorf("release again: %w", err)
	}
	defer rows.Close()
	var bundles []bus.Bundle
	for rows.Next() {
		var n, attempt int
		var solo bool
		if err := rows.Scan(&n, &attempt, &solo); err != nil {
			return nil, err
		}
		bundles = append(bundles, p.Bundle(attempt, solo, n))
	}
	return bundles, rows.Err()
}

// Outstanding returns the bundles of p that are out, with what is left of each
// and the segment that names it.
func Outstanding(ctx context.Context, pool *pg.Pool, p Plan) ([]bus.Bundle, error) {
	rows, err := pool.Query(ctx, `select n, attempt, mask, solo from outstanding where job = $1 order by n, attempt`, p.Num)
	if err != nil {
		return nil, fmt.Errorf("read what is out: %w", err)
	}
	defer rows.Close()
	var bundles []bus.Bundle
	for rows.Next() {
		var n, attempt int
		var mask int64
		var solo bool
		if err := rows.Scan(&n, &attempt, &mask, &solo); err != nil {
			return nil, err
		}
		ns := []int{n}
		base := n - (n-1)%bus.BlockSegments
		for i := range bus.BlockSegments {
			if mask>>i&1 == 1 && base+i != n {
				ns = append(ns, base+i)
			}
		}
		bundles = append(bundles, p.Bundle(attempt, solo, ns...))
	}
	return bundles, rows.Err()
}

// Due takes what is due for assembly from the outbox.
func Due(ctx context.Context, pool *pg.Pool) ([]bus.Assembly, error) {
	return assemblies(ctx, pool, `update outbox o set released_at = clock_timestamp(), attempt = attempt + 1 from jobs j
		where o.released_at is null and o.parked_at is null and o.not_before <= clock_timestamp() and j.id = o.job_id
		returning o.job_id, o.ordinal, o.kind = 'encode', o.attempt, j.class`)
}

func assemblies(ctx context.Context, pool *pg.Pool, sql string) ([]bus.Assembly, error) {
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	defer rows.Close()
	var due []bus.Assembly
	for rows.Next() {
		var a bus.Assembly
		if err := rows.Scan(&a.JobID, &a.Ordinal, &a.Encode, &a.Attempt, &a.Class); err != nil {
			return nil, err
		}
		due = append(due, a)
	}
	return due, rows.Err()
}

// Cancel cancels the job of p as the gateway does.
func Cancel(ctx context.Context, pool *pg.Pool, p Plan) error {
	_, err := pool.Exec(ctx, `with j as materialized (
			update jobs set state = 'cancelled', finished_at = clock_timestamp(), version = version + 1 where id = $1 and finished_at is null returning num)
		select drop_work(num) from j`, p.ID)
	if err != nil {
		return fmt.Errorf("cancel %s: %w", p.ID, err)
	}
	return nil
}
