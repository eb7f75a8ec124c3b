package storetest

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// What every database of [New] holds.
const (
	Tenant     = job.Tenant("default")
	Pool       = "espeak"
	Voice      = "narrator-en" // the default for en, in Pool
	SampleRate = 22_050
)

// Base is a database of a test's own, and a leader's Store over it.
type Base struct {
	DB    *pg.Pool
	Store *store.Leased

	minter *job.Minter
}

// New returns a Base with one tenant and the voices narrator-en and narrator-de.
func New(tb testing.TB) *Base {
	tb.Helper()
	return Over(tb, testkit.Postgres(tb))
}

// Over is [New] on a pool of the caller's.
func Over(tb testing.TB, db *pg.Pool) *Base {
	tb.Helper()
	b := &Base{DB: db}
	b.AddTenant(tb, Tenant)
	b.AddVoice(tb, store.Voice{Name: Voice, Pool: Pool, Language: "en", Engine: "espeak-1", SampleRate: SampleRate, Default: true})
	b.AddVoice(tb, store.Voice{Name: "narrator-de", Pool: Pool, Language: "de", Engine: "espeak-1", SampleRate: SampleRate, Default: true})
	s, err := store.New(db, rand.Reader)
	if err != nil {
		tb.Fatalf("open the store: %v", err)
	}
	b.Exec(tb, `insert into leases values ('storetest', 1, 'test', 'infinity')`)
	b.Store = s.Under(pg.Lease{Name: "storetest", Epoch: 1})
	if b.minter, err = job.NewMinter([]byte("a key of sixteen"), rand.Reader); err != nil {
		tb.Fatalf("make a minter: %v", err)
	}
	return b
}

// AddTenant creates a tenant.
func (b *Base) AddTenant(tb testing.TB, tenant job.Tenant) {
	tb.Helper()
	if err := pg.EnsureTenant(tb.Context(), b.DB, tenant); err != nil {
		tb.Fatalf("create tenant %s: %v", tenant, err)
	}
}

// AddVoice creates a voice.
func (b *Base) AddVoice(tb testing.TB, v store.Voice) {
	tb.Helper()
	b.Exec(tb, `insert into voices (name, pool, language, engine, sample_rate, is_default, instructions) values ($1, $2, $3, $4, $5, $6, $7)`,
		v.Name, v.Pool, v.Language, v.Engine, v.SampleRate, v.Default, v.Instructions)
}

// Exec runs a statement that the test needs.
func (b *Base) Exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	if _, err := b.DB.Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// One reads one row into the targets.
func (b *Base) One(tb testing.TB, sql string, args []any, targets ...any) {
	tb.Helper()
	if err := b.DB.QueryRow(tb.Context(), sql, args...).Scan(targets...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// Count returns the number that a statement reads.
func (b *Base) Count(tb testing.TB, sql string, args ...any) (n int) {
	tb.Helper()
	b.One(tb, sql, args, &n)
	return n
}

// Digest returns a digest of all that a leader and workers write, renditions
// apart: whoever comes too late must not change it.
func (b *Base) Digest(tb testing.TB) (digest string) {
	tb.Helper()
	b.One(tb, `select md5(coalesce(string_agg(line, '|' order by line), '')) from (
		select 'j' || j::text from jobs j union all select 'c' || c::text from chapters c union all select 'b' || job || '.' || b || '.' || reused from blocks
		union all select 'q' || q::text from queues q union all select 'o' || o::text from outstanding o union all select 'r' || r::text from retries r
		union all select 'e' || e::text from exceptions e union all select 'x' || x::text from outbox x union all select 'd' || d::text from deliveries d
		union all select 'a' || a::text from delivery_attempts a union all select 'v' || v::text from virtual_times v
		union all select 'g' || g::text from job_changes g union all select 's' || s::text from redos s union all select 'p' || p::text from pool_speeds p
		union all select 't' || t::text from estimates t union all select 'n' || n::text from cancellations n union all select 'u' || u::text from uploads u
		union all select 'k' || k::text from garbage k union all select 'z' || z::text from stored z union all select 't' || t::text from tombstones t
		union all select 'y' || y::text from exports y union all select 'f' || f::text from export_files f) as l (line)`, nil, &digest)
	return digest
}

// State returns the state of a job and why it failed.
func (b *Base) State(tb testing.TB, id job.ID) (state job.State, kind, detail string) {
	tb.Helper()
	b.One(tb, `select state, coalesce(error_kind, ''), coalesce(error_detail, '') from jobs where id = $1`, []any{id}, &state, &kind, &detail)
	return state, kind, detail
}

// Accepted returns a job as the gateway would accept it; spec is normalized.
func (b *Base) Accepted(tb testing.TB, tenant job.Tenant, spec job.Spec) bus.AcceptedJob {
	tb.Helper()
	id, err := b.minter.Mint(tenant, time.Now())
	if err != nil {
		tb.Fatalf("mint a job id: %v", err)
	}
	spec.Normalize()
	return bus.AcceptedJob{ID: id, Tenant: tenant, Spec: spec, AcceptedAt: time.Now()}
}

// Accept stores a job in state accepted and returns its id.
func (b *Base) Accept(tb testing.TB, tenant job.Tenant, spec job.Spec) job.ID {
	tb.Helper()
	a := b.Accepted(tb, tenant, spec)
	b.Insert(tb, a)
	return a.ID
}

// Insert stores jobs.
func (b *Base) Insert(tb testing.TB, jobs ...bus.AcceptedJob) {
	tb.Helper()
	if _, err := b.Store.InsertJobs(tb.Context(), jobs); err != nil {
		tb.Fatalf("insert jobs: %v", err)
	}
}

// Queue stores a job in state queued: one chapter, one segment for each of
// seconds, and returns its id.
func (b *Base) Queue(tb testing.TB, tenant job.Tenant, spec job.Spec, seconds ...float64) job.ID {
	tb.Helper()
	spec.Input = job.Input{Text: "unused"}
	id := b.Accept(tb, tenant, spec)
	var num int64
	b.One(tb, `update jobs set state = 'planning', plan_attempts = 1 where id = $1 returning num`, []any{id}, &num)
	ch := store.Chapter{Ordinal: 1, Matter: "body", FirstSegment: 1}
	digest := job.NewOrderDigest()
	for i, s := range seconds {
		text := fmt.Sprintf("Segment %d of %s.", i+1, id)
		g := store.PlannedSegment{
			N: i + 1, Chapter: 1, Text: text, Voice: Voice, Language: "en", Pool: Pool, Break: "sentence", Seconds: s,
			SampleRate: SampleRate, Characters: len(text),
			RenditionKey: job.Rendition{Tenant: tenant, Pool: Pool, Voice: Voice, Text: text, SampleRate: SampleRate}.Key(),
		}
		digest.Add(g.RenditionKey)
		ch.Segments = append(ch.Segments, g)
	}
	ch.Digest = digest.Sum()
	done, err := b.Store.CommitPlans(tb.Context(), []store.Plan{{
		ID: id, Num: num, Attempt: 1, Tenant: tenant, Class: spec.Class, Title: "A job", Language: "en", Callback: spec.Callback,
		Chapters: func(yield func(*store.Chapter, error) bool) { yield(&ch, nil) },
	}})
	if err != nil || len(done) != 1 {
		tb.Fatalf("queue a job: %v (%d stored)", err, len(done))
	}
	return id
}

// Done commits a segment as a worker does: the audio is as long as predicted.
// It reports whether the segment was out with this attempt.
func (b *Base) Done(tb testing.TB, id job.ID, n, attempt int) bool {
	tb.Helper()
	tag, err := b.DB.Exec(tb.Context(), `
with j as (select num from jobs where id = $1 and finished_at is null for update),
bit as (select 1::bigint << (($2::int - 1) % 64) as bit),
o as (
    select o.job, o.n, o.attempt, o.mask from outstanding o join j on o.job = j.num cross join bit
    where o.attempt = $3 and (o.n - 1) / 64 = ($2 - 1) / 64 and o.mask & bit.bit <> 0
    for update of o),
gone as (delete from outstanding d using o, bit where d.job = o.job and d.n = o.n and d.attempt = o.attempt and o.mask = bit.bit),
less as (update outstanding u set mask = o.mask & ~bit.bit from o, bit where u.job = o.job and u.n = o.n and u.attempt = o.attempt and o.mask <> bit.bit),
g as (select g.* from o cross join lateral segments_between(o.job, $2, $2) g),
r as (
    insert into renditions (key, tenant, sample_rate, samples, bytes, sha256)
    select g.rendition_key, t.num, $4::int, greatest(1, (g.predicted_seconds * $4)::int), 100, sha256('x')
    from g, tenants t join jobs on jobs.tenant_id = t.id where jobs.id = $1
    on conflict (key) do nothing),
c as (update chapters c set segments_done = segments_done + 1 from g where c.job_id = $1 and c.ordinal = g.chapter)
update jobs set segments_done = segments_done + 1, done_seconds = done_seconds + g.predicted_seconds,
    audio_seconds = audio_seconds + g.predicted_seconds, version = version + 1
from g where jobs.id = $1`, id, n, attempt, SampleRate)
	if err != nil {
		tb.Fatalf("commit segment %d of %s: %v", n, id, err)
	}
	b.Exec(tb, `select advance_job($1)`, id)
	return tag.RowsAffected() == 1
}

// Cancel cancels a job as the gateway does.
func (b *Base) Cancel(tb testing.TB, id job.ID) {
	tb.Helper()
	b.Exec(tb, `
with j as (select num from jobs where id = $1 and finished_at is null for update),
dropped as (select num, drop_work(num) from j)
update jobs set state = 'cancelled', finished_at = clock_timestamp(), version = version + 1 from dropped where jobs.num = dropped.num`, id)
}
