package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

// mill is a real gateway on a real database, bus and bucket, without the
// services behind it: a job stays accepted unless the test finishes it.
type mill struct {
	url, key string
	db       *pg.Pool
	bucket   *blob.Store
}

// startGateway starts one. change may be nil.
func startGateway(t *testing.T, change func(*gateway.Config)) *mill {
	t.Helper()
	return startGatewayOn(t, testkit.S3(t), change)
}

func startGatewayOn(t *testing.T, bucket *blob.Store, change func(*gateway.Config)) *mill {
	t.Helper()
	m := &mill{db: testkit.Postgres(t), bucket: bucket}
	bus := testkit.NATS(t)
	if err := bus.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := pg.EnsureTenant(t.Context(), m.db, "default"); err != nil {
		t.Fatal(err)
	}
	m.exec(t, `insert into voices (name, pool, language, engine, sample_rate, is_default) values ('amy', 'espeak', 'en', 'espeak-ng', 22050, true)`)
	var err error
	if m.key, err = gateway.CreateKey(t.Context(), m.db, "default", "first key", gateway.Scopes(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	cfg := gateway.DefaultConfig()
	cfg.Listen, cfg.AccessLog = "127.0.0.1:0", false
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- gateway.Run(ctx, cfg, gateway.Deps{
			Log: testkit.Log(t), Registry: telemetry.NewRegistry(), Bus: bus, DB: m.db, Blob: m.bucket, Random: rand.Reader,
			Ready: func(a net.Addr) { address <- a },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	select {
	case a := <-address:
		m.url = "http://" + a.String()
	case err := <-ended:
		ended <- err
		t.Fatalf("gateway: %v", err)
	}
	return m
}

func (m *mill) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := m.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (m *mill) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return runWith(t.Context(), map[string]string{"VOICEMILL_URL": m.url, "VOICEMILL_KEY": m.key}, stdin, args...)
}

// finish does what scheduler and worker would: the job has ended with one file.
func (m *mill) finish(t *testing.T, id, name string, content []byte) {
	t.Helper()
	sum := sha256.Sum256(content)
	key := "jobs/default/" + id + "/1/" + name
	if _, err := m.bucket.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), blob.PutOptions{ContentType: "audio/wav"}); err != nil {
		t.Fatal(err)
	}
	m.exec(t, `insert into jobs (id, tenant_id, class, state, spec, on_failure, title, segments_total, segments_done, chapters_total,
		chapters_ready, audio_seconds, plan_digest, proof_digest, accepted_at, started_at, finished_at)
		values ($1, 'default', 'bulk', 'succeeded', '{}', 'fail', 'A letter', 1, 1, 1, 1, 61.5, $2, $2, now(), now(), now())`, id, sum[:])
	m.exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds) values ($1, $2, 'audio/wav', $3, $4, $5, 61.5)`,
		id, name, key, len(content), sum[:])
}

func TestTheCommandAgainstTheRealGateway(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	submitted := m.run(t, "Dear friend.", "submit", "-", "--label", "kind=letter")
	id := strings.TrimSpace(submitted.out)
	if submitted.code != 0 || !strings.HasPrefix(id, "job_") {
		t.Fatalf("submit = %+v", submitted)
	}
	if got := m.run(t, "", "status", id); got.code != 0 || !strings.Contains(got.out, "accepted") {
		t.Errorf("status = %+v; want the job accepted", got)
	}
	content := bytes.Repeat([]byte("RIFF"), 100_000)
	m.finish(t, id, "chapter-001.wav", content)
	if got := m.run(t, "", "watch", id); got.code != 0 || !strings.Contains(got.out, "succeeded: 1 chapter, 1:02 of audio") {
		t.Errorf("watch = %+v; want the end", got)
	}
	if got := m.run(t, "", "list", "--state", "succeeded"); got.code != 0 || !strings.Contains(got.out, id) || !strings.Contains(got.out, "A letter") {
		t.Errorf("list = %+v; want the job", got)
	}
	if got := m.run(t, "", "cancel", id); got.code != 0 || !strings.Contains(got.out, "already ended: succeeded") {
		t.Errorf("cancel = %+v; want it left as it is", got)
	}
	dir := t.TempDir()
	part := filepath.Join(dir, "chapter-001.wav.part")
	if err := os.WriteFile(part, content[:150_000], 0o600); err != nil {
		t.Fatal(err)
	}
	got := m.run(t, "", "get", id, "--out", dir)
	if b, err := os.ReadFile(filepath.Join(dir, "chapter-001.wav")); got.code != 0 || err != nil || !bytes.Equal(b, content) {
		t.Errorf("get = %+v, %v; want the file, resumed from its part", got, err)
	}
}

func TestAnUploadReachesTheRealBucket(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	path := write(t, "book.epub", strings.Repeat("PK", 500_000))
	first := m.run(t, "", "submit", path, "--idempotency-key", "once")
	again := m.run(t, "", "submit", path, "--idempotency-key", "once")
	if first.code != 0 || again.code != 0 || first.out != again.out {
		t.Fatalf("submit twice with one key = %+v, %+v; want the same id", first, again)
	}
	var sizes []int64
	for info, err := range m.bucket.List(t.Context(), "uploads/default/") {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size)
	}
	if len(sizes) != 1 || sizes[0] != 1_000_000 {
		t.Errorf("uploads of %v bytes; want one of 1,000,000", sizes)
	}
}

func TestACommandThatCannotReachTheBucketGoesThroughTheGateway(t *testing.T) {
	t.Parallel()
	cfg := testkit.S3Config(t)
	cfg.PublicEndpoint = "http://127.0.0.1:1" // where clients are sent, and nobody is
	bucket, err := blob.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bucket.Close)
	m := startGatewayOn(t, bucket, nil)
	path := write(t, "book.epub", strings.Repeat("PK", 500_000))
	submit := []string{"--through-gateway", "submit", path, "--idempotency-key", "once"}
	first, again := m.run(t, "", submit...), m.run(t, "", submit...)
	if first.code != 0 || again.code != 0 || first.out != again.out {
		t.Fatalf("submit twice with one key = %+v, %+v; want the same id", first, again)
	}
	m.exec(t, `update uploads set expires_at = now() - interval '1 second'`)
	if got := m.run(t, "", append(submit, "--voice", "amy")...); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "expired") {
		t.Errorf("submit of an upload that has expired = %+v", got)
	}

	id, content, dir := strings.TrimSpace(first.out), bytes.Repeat([]byte("RIFF"), 100_000), t.TempDir()
	m.finish(t, id, "chapter-001.wav", content)
	if err := os.WriteFile(filepath.Join(dir, "chapter-001.wav.part"), content[:150_000], 0o600); err != nil {
		t.Fatal(err)
	}
	got := m.run(t, "", "--through-gateway", "get", id, "--out", dir)
	if b, err := os.ReadFile(filepath.Join(dir, "chapter-001.wav")); got.code != 0 || err != nil || !bytes.Equal(b, content) {
		t.Errorf("get = %+v, %v; want the file, resumed from its part", got, err)
	}
}

func TestTheRealGatewaysRefusalsAreSentences(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	if got := m.run(t, "Hello.", "submit", "-", "--voice", "nobody"); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "  /voice: ") {
		t.Errorf("submit with an unknown voice = %+v", got)
	}
	if got := m.run(t, "", "status", "job_1"); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "Request id: ") {
		t.Errorf("status of no job = %+v", got)
	}
	if got := m.run(t, "", "voices"); got.code != 0 || !strings.Contains(got.out, "amy") {
		t.Errorf("voices = %+v", got)
	}
	created := m.run(t, "", "keys", "create", "--name", "reader", "--scope", "jobs:read")
	m.key = strings.TrimSpace(created.out)
	if created.code != 0 || !strings.HasPrefix(m.key, "vm_") {
		t.Fatalf("keys create = %+v", created)
	}
	if got := m.run(t, "", "keys", "list"); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "scope") {
		t.Errorf("keys list with a reader's key = %+v", got)
	}
	m.key = "vm_00000000000000000000000000"
	if got := m.run(t, "", "list"); got.code != cli.ExitRefused || !strings.Contains(got.errOut, "VOICEMILL_KEY") {
		t.Errorf("list with a wrong key = %+v", got)
	}
}

func TestABatchPrintsAnIdForEachLine(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	path := write(t, "jobs.ndjson", `{"input":{"text":"One."}}
{"input":{"text":"…"}}
{"input":{"text":"Three."}}
`)
	got := m.run(t, "", "submit", "--batch", path, "--idempotency-key", "once")
	if ids := strings.Fields(got.out); got.code != cli.ExitRefused || len(ids) != 2 || !strings.HasPrefix(ids[0], "job_") {
		t.Errorf("submit --batch = %d, %q, %q", got.code, got.out, got.errOut)
	}
	if !strings.Contains(got.errOut, "line 2: /input/text") || !strings.Contains(got.errOut, "1 lines were refused") {
		t.Errorf("it says %q", got.errOut)
	}
	if again := m.run(t, "", "submit", "--batch", path, "--idempotency-key", "once"); again.out != got.out {
		t.Errorf("with the same key the ids are %q; want %q", again.out, got.out)
	}
	lines := m.run(t, `{"input":{"text":"One."}}`, "--json", "submit", "--batch", "-")
	if lines.code != cli.ExitDone || !strings.HasPrefix(lines.out, `{"line":1,"status":202,"id":"job_`) {
		t.Errorf("submit --batch - = %d, %q, %q", lines.code, lines.out, lines.errOut)
	}
	for _, args := range [][]string{{"submit"}, {"submit", path, "--batch", path}, {"submit", "--batch", path, "--wait"}, {"submit", "--batch", path + "x"}} {
		if got := m.run(t, "", args...); got.code != cli.ExitUsage {
			t.Errorf("%v = %d, %q", args, got.code, got.errOut)
		}
	}
}
