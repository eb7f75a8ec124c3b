package retention_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/retention"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// desk is a database and a bucket with what jobs leave behind.
type desk struct {
	*storetest.Base
	bucket *blob.Store
	cfg    retention.Config
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{Base: storetest.New(t), bucket: testkit.S3(t), cfg: retention.DefaultConfig()}
	require.NoError(t, d.cfg.Validate())
	d.cfg.Garbage = time.Nanosecond
	return d
}

func (d *desk) round(t *testing.T) {
	t.Helper()
	require.NoError(t, retention.New(d.cfg, d.bucket, testkit.Log(t)).Round(t.Context(), d.Store))
}

func (d *desk) put(t *testing.T, key string) {
	t.Helper()
	_, err := d.bucket.Put(t.Context(), key, strings.NewReader("sound"), 5, blob.PutOptions{})
	require.NoError(t, err)
}

func (d *desk) there(t *testing.T, key string) bool {
	t.Helper()
	_, err := d.bucket.Stat(t.Context(), key)
	if err != nil {
		require.Equal(t, job.NotFound, job.KindOf(err))
	}
	return err == nil
}

// ended stores a job of a document that ended so many days ago, with a segment, a
// file and a manifest, and returns its id and the keys of document, file and manifest.
func (d *desk) ended(t *testing.T, tenant job.Tenant, days int) (id job.ID, document, file, manifest string) {
	t.Helper()
	id = d.Queue(t, tenant, job.Spec{}, 1)
	document = fmt.Sprintf("uploads/%s/upl_%s", tenant, id)
	file, manifest = fmt.Sprintf("jobs/%s/%s/x/chapter-001.wav", tenant, id), fmt.Sprintf("jobs/%s/%s/y/manifest.json", tenant, id)
	for _, key := range []string{document, file, manifest} {
		d.put(t, key)
	}
	d.Exec(t, `update jobs set source_key = $2, spec = spec || '{"input": {"text": "A secret."}}' where id = $1`, id, document)
	d.Exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256)
values ($1, 'chapter-001.wav', 'audio/wav', $2, 5, sha256('')), ($1, 'manifest.json', 'application/json', $3, 5, sha256(''))`, id, file, manifest)
	d.Exec(t, `update chapters set state = 'ready', segments_done = 1, proof_digest = plan_digest, artifact = 'chapter-001.wav', object_key = $2 where job_id = $1`, id, file)
	d.Exec(t, `select drop_work(num) from jobs where id = $1`, id)
	d.Exec(t, `update jobs set state = 'cancelled', finished_at = now() - make_interval(days => $2), accepted_at = now() - make_interval(days => $2 + 1) where id = $1`, id, days)
	return id, document, file, manifest
}

func TestTextFilesAndJobsGoWhenTheirTimeIsUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		days                 int
		policy               string
		text, file, row      bool
		rows                 int // of chapters
		kept                 int
		stored               int // bytes of files
		manifest, tombstoned bool
	}{
		"young":            {days: 29, text: true, file: true, row: true, rows: 1, kept: 3, stored: 10, manifest: true},
		"a month":          {days: 31, row: true, rows: 1},
		"long":             {days: 91},
		"text goes first":  {days: 2, policy: `keep_text = '1 day'`, file: true, row: true, rows: 1, kept: 2, stored: 5},
		"files go first":   {days: 2, policy: `keep_audio = '1 day'`, text: true, row: true, rows: 1, kept: 1},
		"rows go first":    {days: 2, policy: `keep_jobs = '1 day'`, tombstoned: true},
		"nothing ever":     {days: 999, policy: `keep_text = '0', keep_audio = '0', keep_jobs = '0'`, text: true, file: true, row: true, rows: 1, kept: 3, stored: 10, manifest: true},
		"nothing for long": {days: 2, policy: `keep_text = '1 second', keep_audio = '1 second'`, row: true, rows: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			if tt.policy != "" {
				d.Exec(t, `update tenants set `+tt.policy)
			}
			id, document, file, manifest := d.ended(t, storetest.Tenant, tt.days)
			d.Exec(t, `update jobs set quality = '{"verify": "all", "doubtful": 1, "stretches": [{"text": "whisper", "heard": "whisper"}]}'`)
			for range 2 { // the second finds nothing more
				d.round(t)
				require.Equal(t, tt.text, d.there(t, document))
				require.Equal(t, tt.file, d.there(t, file))
				require.Equal(t, tt.manifest, d.there(t, manifest))
				require.Equal(t, tt.row, d.Count(t, `select count(*) from jobs where id = $1`, id) == 1)
				require.Equal(t, tt.rows, d.Count(t, `select count(*) from chapters where job_id = $1`, id))
				require.Equal(t, tt.text, d.Count(t, `select count(*) from blocks`) == 1)
				require.Equal(t, tt.text, d.Count(t, `select count(*) from jobs where spec::text like '%secret%'`) == 1)
				require.Equal(t, tt.tombstoned, d.Count(t, `select count(*) from tombstones where job_id = $1`, id) == 1)
				require.Equal(t, tt.text, d.Count(t, `select count(*) from jobs where quality::text like '%whisper%'`) == 1)
				if tt.row {
					require.Equal(t, 1, d.Count(t, `select count(*) from jobs where quality ->> 'doubtful' = '1'`))
					require.Equal(t, tt.kept, d.Count(t, `select kept from jobs where id = $1`, id))
				}
				require.NoError(t, d.Store.SumStored(t.Context(), 1000))
				require.Equal(t, tt.stored, d.Count(t, `select coalesce(sum(artifacts), 0) from stored`))
			}
		})
	}
}

func TestADocumentStaysWhileAnotherJobNamesIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, document, _, _ := d.ended(t, storetest.Tenant, 31)
	other, _, _, _ := d.ended(t, storetest.Tenant, 1)
	d.Exec(t, `update jobs set source_key = $2 where id = $1`, other, document)
	d.round(t)
	require.True(t, d.there(t, document))
	d.Exec(t, `update jobs set finished_at = now() - interval '40 days' where id = $1`, other)
	d.round(t)
	require.False(t, d.there(t, document))
}

func TestCallbacksGoThatWereMadeOrGivenUp(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.Queue(t, storetest.Tenant, job.Spec{}, 1)
	for _, state := range []string{"pending", "delivered", "failed"} {
		for _, age := range []string{"29 days", "31 days"} {
			d.Exec(t, `insert into deliveries (id, tenant_id, job_id, event, url, payload, state, created_at, delivered_at)
values ('dlv_' || $1 || $2, 'default', $3, $1 || $2, 'https://example.org', '', $1, now() - $2::text::interval, case when $1 = 'delivered' then now() end)`, state, age, id)
			d.Exec(t, `insert into delivery_attempts (delivery_id, n, duration_ms) values ('dlv_' || $1 || $2, 1, 1)`, state, age)
		}
	}
	d.round(t)
	require.Equal(t, 4, d.Count(t, `select count(*) from deliveries`))
	require.Equal(t, 4, d.Count(t, `select count(*) from delivery_attempts`))
	require.Equal(t, 2, d.Count(t, `select count(*) from deliveries where state = 'pending'`))

	d.Exec(t, `update deliveries set state = 'failed', delivered_at = null, created_at = now() - interval '31 days'`)
	d.round(t)
	require.Zero(t, d.Count(t, `select count(*) from deliveries`))
	d.Exec(t, `insert into deliveries (id, tenant_id, job_id, event, url, payload) values ('dlv_next', 'default', $1, 'job.succeeded', 'https://example.org', '')`, id)
	require.Equal(t, 7, d.Count(t, `select sequence from deliveries`), "the seventh event of the job")
}

// rendition stores one that was used so many days ago, and returns its object.
func (d *desk) rendition(t *testing.T, tenant job.Tenant, text string, days int) (key, object string) {
	t.Helper()
	key = job.Rendition{Tenant: tenant, Text: text}.Key()
	object = fmt.Sprintf("renditions/%s/%s/%s.wav", tenant, key[:2], key)
	d.put(t, object)
	d.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256, used_on)
select decode($1, 'hex'), num, 22050, 22050, 1000, sha256(''), (now() at time zone 'utc')::date - $3::int from tenants where id = $2`, key, tenant, days)
	return key, object
}

func TestRenditionsGoThatNoJobUses(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.AddTenant(t, "other")
	_, young := d.rendition(t, storetest.Tenant, "young", 29)
	_, old := d.rendition(t, storetest.Tenant, "old", 31)
	_, others := d.rendition(t, "other", "old", 31)
	open := d.Queue(t, "other", job.Spec{}, 1)
	d.Exec(t, `update jobs set accepted_at = now() - interval '31 days' where id = $1`, open)
	d.round(t)
	require.True(t, d.there(t, young))
	require.False(t, d.there(t, old))
	require.True(t, d.there(t, others), "an open job may use it")
	d.Cancel(t, open)
	d.round(t)
	require.False(t, d.there(t, others))
	require.Equal(t, 1, d.Count(t, `select count(*) from renditions`))
	require.NoError(t, d.Store.SumStored(t.Context(), 1000))
	require.Equal(t, 1000, d.Count(t, `select sum(renditions) from stored`))
}

func TestRenditionsBeyondTheBytesOfATenantGoOldestFirst(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var objects []string
	for days := range 6 {
		_, object := d.rendition(t, storetest.Tenant, fmt.Sprint(days), days)
		objects = append(objects, object)
	}
	d.Exec(t, `update tenants set keep_rendition_bytes = 3500`)
	d.round(t)
	for days, object := range objects {
		require.Equal(t, days < 3, d.there(t, object), "%d days", days)
	}
	d.Exec(t, `update tenants set keep_rendition_bytes = 1`)
	d.round(t)
	require.True(t, d.there(t, objects[0]), "what was used today stays, whatever it takes")
	require.False(t, d.there(t, objects[1]))
}

// A plan and an eviction at the same time: whoever is first wins, and the other knows.
func TestWhatAPlanCountsOnIsNotEvicted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key, object := d.rendition(t, storetest.Tenant, "old", 31)
	planner, err := d.DB.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = planner.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = planner.Exec(t.Context(), `update renditions set used_on = (now() at time zone 'utc')::date where key = decode($1, 'hex')`, key)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := retention.New(d.cfg, d.bucket, testkit.Log(t)).Round(t.Context(), d.Store); err != nil {
			t.Error(err)
		}
	}()
	testkit.Blocked(t, d.DB, 1)
	require.NoError(t, planner.Commit(t.Context()))
	<-done
	require.True(t, d.there(t, object))
	require.Equal(t, 1, d.Count(t, `select count(*) from renditions`))
}

func TestAnObjectGoesOnlyIfNoRowNamesItThen(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, named := d.rendition(t, storetest.Tenant, "named", 0)
	_, unnamed := d.rendition(t, storetest.Tenant, "unnamed", 0)
	d.Exec(t, `delete from renditions where key = decode($1, 'hex')`, job.Rendition{Tenant: storetest.Tenant, Text: "unnamed"}.Key())
	d.Exec(t, `select drop_object($1)`, named)
	d.Exec(t, `select drop_object('probe')`) // none of ours
	d.put(t, "probe")
	_, again := d.rendition(t, storetest.Tenant, "again", 0)
	d.Exec(t, `delete from renditions where key = decode($1, 'hex')`, job.Rendition{Tenant: storetest.Tenant, Text: "again"}.Key())
	d.Exec(t, `update garbage set created_at = now() - interval '1 hour' where object_key = $1`, again) // and stored again since
	d.round(t)
	require.True(t, d.there(t, named))
	require.True(t, d.there(t, "probe"))
	require.True(t, d.there(t, again))
	require.False(t, d.there(t, unnamed))
	require.Equal(t, 2, d.Count(t, `select count(*) from garbage where gone_at is not null`), "the names are not used again for a while")
	require.Equal(t, 2, d.Count(t, `select count(*) from garbage`))
	d.Exec(t, `update garbage set gone_at = now() - interval '2 hours'`)
	d.round(t)
	require.Zero(t, d.Count(t, `select count(*) from garbage`))
}

func TestWhatNeverGotARowGoesWhenItIsOld(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.put(t, "renditions/default/ab/"+strings.Repeat("ab", 32)+"-x.wav")
	d.put(t, "jobs/default/job_x/y/chapter-001.wav")
	d.put(t, "uploads/default/upl_x")
	d.put(t, "probe")
	_, named := d.rendition(t, storetest.Tenant, "named", 0)
	d.round(t)
	require.Zero(t, d.Count(t, `select count(*) from garbage`), "they are young")
	d.cfg.Orphans = time.Nanosecond
	d.round(t)
	var left []string
	for o, err := range d.bucket.List(t.Context(), "") {
		require.NoError(t, err)
		left = append(left, o.Key)
	}
	require.Equal(t, []string{"probe", named}, left)
}

// A tombstone stands as long as an envelope may come, and no longer.
func TestADeletedJobDoesNotComeBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "One."}})
	d.Insert(t, a)
	d.Exec(t, `select forget_job(num) from jobs`)
	d.Insert(t, a)
	fresh, err := d.Store.InsertBroken(t.Context(), &a, "x")
	require.NoError(t, err)
	require.Empty(t, fresh)
	require.Zero(t, d.Count(t, `select count(*) from jobs`))
	d.Exec(t, `update tombstones set created_at = now() - interval '31 days'`)
	d.round(t)
	require.Zero(t, d.Count(t, `select count(*) from tombstones`))
}

// A job of which nothing is left to speak is not opened again; one that is opened
// again has text and files to keep anew.
func TestAJobWithoutItsTextIsNotRedriven(t *testing.T) {
	t.Parallel()
	for name, days := range map[string]int{"kept": 1, "forgotten": 31} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.Exec(t, `update tenants set keep_audio = '1 hour'`)
			id, _, file, _ := d.ended(t, storetest.Tenant, days)
			d.Exec(t, `insert into exceptions (job, n, state, attempts, error_kind) select num, 1, 'failed', 1, 'engine' from jobs
on conflict (job, n) do update set state = 'failed', error_kind = 'engine'`)
			d.Exec(t, `update jobs set state = 'failed', error_kind = 'engine', segments_failed = 1`)
			d.round(t)
			require.False(t, d.there(t, file))
			var refused string
			d.One(t, `select coalesce(refused, '') from redrive_job($1, 'default')`, []any{id}, &refused)
			if name == "forgotten" {
				require.Equal(t, "text", refused)
				require.Equal(t, 1, d.Count(t, `select count(*) from jobs where finished_at is not null`))
				return
			}
			require.Empty(t, refused)
			require.Equal(t, 3, d.Count(t, `select kept from jobs where finished_at is null`))
		})
	}
}
