package fsck_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/fsck"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type desk struct {
	*storetest.Base
	bucket *blob.Store
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{Base: storetest.New(t), bucket: testkit.S3(t)}
}

func (d *desk) put(t *testing.T, key string) {
	t.Helper()
	_, err := d.bucket.Put(t.Context(), key, strings.NewReader("sound"), 5, blob.PutOptions{})
	require.NoError(t, err)
}

// rendition stores a row, and returns the name of its object.
func (d *desk) rendition(t *testing.T, tenant job.Tenant, text, suffix string) string {
	t.Helper()
	key := job.Rendition{Tenant: tenant, Text: text}.Key()
	d.Exec(t, `insert into renditions (key, tenant, suffix, sample_rate, samples, bytes, sha256)
select decode($1, 'hex'), num, $3, 22050, 22050, 5, sha256('') from tenants where id = $2`, key, tenant, suffix)
	return fmt.Sprintf("renditions/%s/%s/%s%s.wav", tenant, key[:2], key, suffix)
}

// look runs once and returns what it found, as fault and name.
func (d *desk) look(t *testing.T, cfg fsck.Config) (fsck.Report, []string) {
	t.Helper()
	var found []string
	cfg.Found = func(f fsck.Finding) { found = append(found, strings.TrimSpace(f.Fault+" "+f.Kind)+" "+f.Key) }
	r, err := fsck.Run(t.Context(), cfg, d.Store.Store, d.bucket)
	require.NoError(t, err)
	slices.Sort(found)
	return r, found
}

// Names whose order a file system and a database are wont to get wrong.
func tenants() []job.Tenant { return []job.Tenant{"a", "a-b", "a_b", "ab", "b", "default"} }

func TestWhatBelongsTogetherIsNoFault(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, tenant := range tenants() {
		d.AddTenant(t, tenant)
		for i := range 50 {
			suffix := ""
			if i%3 == 0 {
				suffix = "-x"
			}
			d.put(t, d.rendition(t, tenant, fmt.Sprint(i), suffix))
		}
		id := d.Accept(t, tenant, job.Spec{Input: job.Input{Text: "One."}})
		file, document := fmt.Sprintf("jobs/%s/%s/x/a.wav", tenant, id), fmt.Sprintf("uploads/%s/upl_1", tenant)
		d.put(t, file)
		d.put(t, document)
		d.Exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'a.wav', 'audio/wav', $2, 5, sha256(''))`, id, file)
		d.Exec(t, `update jobs set source_key = $2 where id = $1`, id, document)
		d.Exec(t, `insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at) values ('upl_' || $1, $1, 'text/plain', 1, 'uploads/' || $1 || '/not-arrived', now())`, tenant)
	}
	d.put(t, "probe")
	r, found := d.look(t, fsck.Config{})
	require.Empty(t, found)
	n := int64(len(tenants()))
	require.Equal(t, fsck.Report{Objects: 52*n + 1, Bytes: 5 * (52*n + 1), Rows: 53 * n, Foreign: 1}, r)
}

func TestEachKindOfFaultIsFoundAndRepairedIfThatIsSafe(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	gone := d.rendition(t, storetest.Tenant, "gone", "")
	loser := strings.Replace(gone, ".wav", "-loser.wav", 1)
	d.put(t, loser)
	going := d.rendition(t, storetest.Tenant, "going", "")
	d.put(t, going)
	d.Exec(t, `delete from renditions where key = decode($1, 'hex')`, job.Rendition{Tenant: storetest.Tenant, Text: "going"}.Key())
	id := d.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "One."}})
	file, strange := "jobs/default/"+string(id)+"/x/a.wav", "renditions/not-ours"
	d.Exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'a.wav', 'audio/wav', $2, 5, sha256(''))`, id, file)
	d.Exec(t, `update jobs set source_key = 'uploads/default/upl_gone' where id = $1`, id)
	d.put(t, strange)

	want := []string{"dangling artifact " + file, "dangling document uploads/default/upl_gone", "dangling rendition " + gone, "orphan " + loser, "orphan " + strange}
	slices.Sort(want)
	before := d.Digest(t)
	for range 2 { // looking changes nothing
		r, found := d.look(t, fsck.Config{})
		require.Equal(t, want, found)
		require.Equal(t, fsck.Report{Objects: 3, Bytes: 15, Rows: 3, Pending: 1, Orphans: 2, Dangling: 3, Unrepaired: 5}, r)
	}
	r, found := d.look(t, fsck.Config{Grace: time.Hour})
	require.Len(t, found, 3, "what was just stored may get its row")
	require.EqualValues(t, 3, r.Young)
	require.Equal(t, before, d.Digest(t))

	r, _ = d.look(t, fsck.Config{Repair: true})
	require.EqualValues(t, 2, r.Unrepaired, "an artifact and a document cannot be made again here")
	require.Zero(t, d.Count(t, `select count(*) from renditions`))
	r, found = d.look(t, fsck.Config{})
	require.Equal(t, []string{"dangling artifact " + file, "dangling document uploads/default/upl_gone"}, found)
	require.EqualValues(t, 3, r.Pending)
}
