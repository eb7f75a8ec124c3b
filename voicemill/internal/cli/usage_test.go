package cli_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
)

// What works on the database and the bucket, beside a gateway that runs.
func TestWhatIsUsedKeptAndDeleted(t *testing.T) {
	t.Parallel()
	s3 := testkit.S3Config(t)
	objects, err := blob.Open(t.Context(), s3)
	require.NoError(t, err)
	t.Cleanup(objects.Close)
	m := startGatewayOn(t, objects, nil)
	dsn := m.db.Config().ConnString()
	run := func(args ...string) result {
		t.Helper()
		return runWith(t.Context(), nil, "", append(args, "--db-dsn", dsn)...)
	}
	id := strings.TrimSpace(m.run(t, "Dear friend.", "submit", "-").out)
	m.finish(t, id, "chapter-001.wav", []byte("RIFF"))
	m.exec(t, `update jobs set characters = 12, reused_seconds = 1.5, gpu_seconds = 0.25, key_id = 'key_x' where id = $1`, id)

	got := run("usage", "--json")
	require.Zero(t, got.code, got.errOut)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	require.Len(t, lines, 2, got.out)
	require.Contains(t, lines[0], `"key":"key_x","jobs":1,"characters":12,"audio_seconds":61.5,"reused_seconds":1.5,"gpu_seconds":0.25`)
	require.JSONEq(t, `{"tenant": "default", "rendition_bytes": 0, "file_bytes": 4, "upload_bytes": 0}`, lines[1])
	require.Contains(t, run("usage").out, "61.5")
	require.Equal(t, 2, run("usage", "--from", "yesterday").code)
	require.Equal(t, 4, run("usage", "nobody").code)

	require.Zero(t, run("tenants", "set", "default", "--keep-text", "1h", "--quota-open-jobs", "5").code)
	require.Zero(t, run("tenants", "set", "default", "--quota-open-jobs", "none", "--json").code)
	require.Equal(t, 2, run("tenants", "set", "default", "--keep-text", "long").code)
	require.Equal(t, 2, run("tenants", "set", "default", "--quota-open-jobs", "-1").code)
	require.Equal(t, 4, run("tenants", "set", "nobody").code)
	var quotas, kept int
	require.NoError(t, m.db.QueryRow(t.Context(), `select (select count(*) from quotas), (select count(*) from tenants where keep_text = '1 hour')`).Scan(&quotas, &kept))
	require.Equal(t, []int{0, 1}, []int{quotas, kept})

	bucket := []string{"--blob-endpoint", s3.Endpoint, "--blob-bucket", s3.Bucket, "--blob-access-key", s3.AccessKey, "--blob-secret-key", s3.SecretKey.Reveal()}
	fsck := func(args ...string) result {
		return run(append(append([]string{"fsck", "--grace", "0s"}, bucket...), args...)...)
	}
	clean := fsck()
	require.Zero(t, clean.code, clean.out+clean.errOut)
	_, err = m.bucket.Put(t.Context(), "jobs/default/job_x/y/orphan.wav", strings.NewReader("x"), 1, blob.PutOptions{})
	require.NoError(t, err)
	faulty := fsck("--json")
	require.Equal(t, 7, faulty.code)
	require.Contains(t, faulty.out, `{"fault":"orphan","key":"jobs/default/job_x/y/orphan.wav","bytes":1}`)
	require.Zero(t, fsck("--repair").code)
	require.Equal(t, 2, run("fsck").code)
	none := fsck("--blob-bucket", "none")
	require.Equal(t, 1, none.code)
	require.Equal(t, 1, fsck("--blob-bucket", "none").code, "looking makes no bucket: %s", none.errOut)

	require.Equal(t, id+" deleted\n", run("delete", id).out)
	again := run("delete", id)
	require.Equal(t, 4, again.code)
	require.Contains(t, again.errOut, id)
	require.Equal(t, 4, m.run(t, "", "status", id).code)
}
