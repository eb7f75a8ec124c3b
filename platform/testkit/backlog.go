package testkit

import (
	"fmt"
	"testing"

	"github.com/voicemill/voicemill/platform/pg"
)

const backlogPerJob = 512 // segments

// Backlog fills a database with jobs of so many waiting segments in all, and
// with what many jobs leave behind: jobs that have ended, renditions, outbox,
// exceptions, segments that come again, callbacks. Nothing in it is analyzed by
// itself, so that a test says what the planner knows.
func Backlog(tb testing.TB, db *pg.Pool, segments int) {
	tb.Helper()
	for _, table := range []string{
		"tenants", "jobs", "chapters", "blocks", "queues", "outstanding", "retries", "exceptions", "renditions", "outbox", "deliveries", "virtual_times", "uploads", "artifacts", "garbage", "tombstones", "stored",
	} {
		mustExec(tb, db, fmt.Sprintf(`alter table %s set (autovacuum_enabled = false)`, table))
		mustExec(tb, db, `analyze `+table)
	}
	jobs := segments / backlogPerJob
	for _, sql := range []string{
		`insert into tenants (id, callback_secret) select 'tenant-' || i, 'whsec_x' from generate_series(1, 1000) i`,
		fmt.Sprintf(`insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, segments_total, chapters_total)
			select 'job_' || i, 'tenant-' || (i %% 1000 + 1), case when i %% 20 = 0 then 'interactive' else 'bulk' end, 'running', '{}', 'fail', now(), %d, 10
			from generate_series(1, %d) i`, backlogPerJob, jobs),
		`insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, finished_at)
			select 'job_old' || i, 'tenant-' || (i % 1000 + 1), 'bulk', 'cancelled', '{}', 'fail', now(), now() - make_interval(days => i % 60) from generate_series(1, 20000) i`,
		`insert into chapters (job_id, ordinal, state, first_segment, segments_total, plan_digest)
			select id, o, 'pending', 51 * o - 50, 51, '' from jobs cross join generate_series(1, 10) o where state = 'running'`,
		`insert into blocks (job, b, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, keys, turns)
			select num, b, array_fill(1, array[64]), array_fill('A text.'::text, array[64]), array_fill('narrator-en'::text, array[64]), array_fill('en'::text, array[64]),
				array_fill('espeak'::text, array[64]), array_fill(''::text, array[64]), array_fill(0::bigint, array[64]), array_fill(0::bigint, array[64]),
				array_fill('sentence'::text, array[64]), array_fill(4::real, array[64]), array_fill(22050, array[64]), decode(repeat('00', 2048), 'hex'),
				(select string_agg(set_byte('\x00', 0, i), '' order by i) from generate_series(0, 63) i)
			from jobs cross join generate_series(0, segments_total / 64 - 1) b where state = 'running'`,
		`insert into queues (job, pool, seconds) select num, 'espeak', 2000 from jobs where state = 'running'`,
		`insert into outstanding (job, n, attempt, pool, mask, seconds) select num, 1, 1, 'espeak', 65535, 60 from jobs where state = 'running' order by num limit 512`,
		`insert into retries (job, n, pool) select num, 64 + i, 'espeak' from jobs cross join generate_series(1, 5) i where state = 'running'`,
		`insert into exceptions (job, n, state, attempts) select num, i, 'done', 2 from jobs cross join generate_series(1, 20) i where state = 'running'`,
		`insert into renditions (key, tenant, sample_rate, samples, bytes, sha256, used_on)
			select sha256(i::text::bytea), i % 1000 + 1, 22050, 1, 1, sha256(''), now() - make_interval(days => i % 60) from generate_series(1, 100000) i`,
		`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256)
			select id, 'a.wav', 'audio/wav', 'jobs/' || tenant_id || '/' || id || '/x/a.wav', 1, sha256('') from jobs where state = 'cancelled'`,
		`insert into stored (tenant, renditions) select num, 100 from tenants`,
		`insert into garbage (object_key) select 'renditions/tenant-1/00/' || encode(sha256(i::text::bytea), 'hex') || '.wav' from generate_series(1, 20000) i`,
		`insert into tombstones (job_id, tenant_id) select 'job_gone' || i, 'tenant-1' from generate_series(1, 20000) i`,
		`insert into outbox (kind, job_id, ordinal) select 'assemble', id, 1 from jobs where state = 'running'`,
		`insert into deliveries (id, tenant_id, job_id, event, url, payload, state, delivered_at)
			select 'dlv_' || id, tenant_id, id, 'job.cancelled', 'https://example.org', '', 'delivered', now() from jobs where state = 'cancelled'`,
		`insert into virtual_times select 'espeak', 'bulk', id, 1 from tenants`,
	} {
		mustExec(tb, db, sql)
	}
}

// Analyze tells the planner what is in a database that [Backlog] has filled.
func Analyze(tb testing.TB, db *pg.Pool) {
	tb.Helper()
	mustExec(tb, db, `analyze`)
}
