package testkit

import (
	"testing"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Segment is a segment as a test wants it; zero fields have plausible values.
type Segment struct {
	Text, Voice, Pool, Break string
	Chapter                  int
	Seconds                  float64 // predicted
	Key                      []byte  // its rendition's, 32 bytes
}

// PutSegments stores the blocks and queues of a job as planning does; its rows of
// jobs and chapters are the test's to write. Every segment is pending.
func PutSegments(tb testing.TB, db *pg.Pool, id job.ID, segments []Segment) {
	tb.Helper()
	for b := 0; b*blockSize < len(segments); b++ {
		part := segments[b*blockSize : min((b+1)*blockSize, len(segments))]
		var texts, voices, pools, breaks []string
		var chapters []int32
		var seconds []float32
		var keys, turns []byte
		for i, g := range part {
			key := make([]byte, 32)
			copy(key, g.Key)
			texts, voices = append(texts, g.Text), append(voices, or(g.Voice, "narrator-en"))
			pools, breaks = append(pools, or(g.Pool, "espeak")), append(breaks, or(g.Break, "sentence"))
			chapters, seconds = append(chapters, int32(max(g.Chapter, 1))), append(seconds, float32(max(g.Seconds, 1))) //nolint:gosec // a test's
			keys, turns = append(keys, key...), append(turns, byte(i))
		}
		mustExec(tb, db, `
insert into blocks (job, b, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, keys, turns)
select num, $2, $3, $4::text[], $5, array_fill('en'::text, array[cardinality($4::text[])]), $6,
       array_fill('a.xhtml'::text, array[cardinality($4::text[])]),
       array(select 10::bigint * (64 * $2::int + i) from generate_series(1, cardinality($4::text[])) i),
       array(select 10::bigint * (64 * $2::int + i) + 9 from generate_series(1, cardinality($4::text[])) i),
       $7, $8, array_fill(22050, array[cardinality($4::text[])]), $9, $10
from jobs where id = $1`, id, b, chapters, texts, voices, pools, breaks, seconds, keys, turns)
	}
	mustExec(tb, db, `
insert into queues (job, pool, seconds)
select j.num, g.pool, sum(g.predicted_seconds) from jobs j cross join lateral segments_between(j.num, 1, $2) g where j.id = $1 group by 1, 2`,
		id, len(segments))
}

const blockSize = 64

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// SetSegment brings a segment of a job into a state, as whoever is in charge of
// it would leave it; the counters of the job are the test's. attempts is that of
// a segment that is or was out, kind and detail say why one failed.
func SetSegment(tb testing.TB, db *pg.Pool, id job.ID, n int, state job.SegmentState, attempts int, kind, detail string) {
	tb.Helper()
	// What waits in the order of planning waits out of order from now on, so that any segment may leave it.
	mustExec(tb, db, `
insert into retries (job, n, pool)
select j.num, g.n, g.pool from jobs j join queues q on q.job = j.num and not q.closed
    cross join lateral segments_between(j.num, 1, 1000000) g
where j.id = $1 and g.pool = q.pool and g.state = 'pending' on conflict do nothing`, id)
	mustExec(tb, db, `delete from queues where job = (select num from jobs where id = $1) and not closed`, id)
	mustExec(tb, db, `delete from retries where job = (select num from jobs where id = $1) and n = $2`, id, n)
	mustExec(tb, db, `delete from outstanding where job = (select num from jobs where id = $1) and n = $2`, id, n)
	switch state {
	case job.SegmentPending:
		mustExec(tb, db, `insert into retries (job, n, pool, attempts) select j.num, $2, g.pool, $3 from jobs j
			cross join lateral segments_between(j.num, $2, $2) g where j.id = $1`, id, n, attempts)
	case job.SegmentReleased:
		mustExec(tb, db, `insert into outstanding (job, n, attempt, pool, mask, seconds) select j.num, $2, $3, g.pool, 1::bigint << (($2 - 1) % 64), g.predicted_seconds
			from jobs j cross join lateral segments_between(j.num, $2, $2) g where j.id = $1`, id, n, max(attempts, 1))
	case job.SegmentReused:
		mustExec(tb, db, `update blocks set reused = reused | 1::bigint << (($2 - 1) % 64) where job = (select num from jobs where id = $1) and b = ($2 - 1) / 64`, id, n)
	case job.SegmentFailed, job.SegmentCancelled:
		mustExec(tb, db, `insert into exceptions (job, n, state, attempts, error_kind, error_detail) select num, $2, $3, $4, nullif($5, ''), nullif($6, '') from jobs where id = $1`,
			id, n, state, attempts, kind, detail)
	case job.SegmentDone: // it is nowhere
	}
}

func mustExec(tb testing.TB, db *pg.Pool, sql string, args ...any) {
	tb.Helper()
	if _, err := db.Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}
