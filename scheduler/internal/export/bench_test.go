package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/seal"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

const (
	bucketID   = "bkt_1"
	sealingKey = "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// near allows what tests reach.
var near = foreign.Config{Keys: config.NewSecret(sealingKey), AllowPrivate: true, AllowPlain: true}

var buckets atomic.Int64

// quick is a Dispatcher's configuration that tests can wait for.
func quick() export.Config {
	cfg := export.DefaultConfig()
	cfg.Tick, cfg.RetryFrom, cfg.RetryTo, cfg.Grace = 10*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond, time.Nanosecond
	return cfg
}

// bench is a job that has ended, our bucket with its files, and a second S3 server
// with the bucket of its owner, behind a door that a test can stand in.
type bench struct {
	*storetest.Base
	own    *blob.Store
	theirs *blob.Store // the owner's bucket
	cred   foreign.Credentials
	place  foreign.Place // of the door
	door   *door
	dir    string // where the second server keeps what is below the prefix
	id     job.ID
	num    int64
	files  map[string][]byte // by their paths in the owner's bucket, metadata.json apart
}

// door stands before a server.
type door struct {
	next http.Handler
	mu   sync.Mutex
	wrap func(next http.Handler) http.Handler // nil: open
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	h := d.next
	if d.wrap != nil {
		h = d.wrap(h)
	}
	d.mu.Unlock()
	h.ServeHTTP(w, r)
}

func (d *door) set(wrap func(http.Handler) http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wrap = wrap
}

// closed is a server that is away.
func closed(http.Handler) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

func newBench(t *testing.T) *bench { return over(t, storetest.New(t), testkit.S3(t)) }

func over(t *testing.T, base *storetest.Base, own *blob.Store) *bench {
	t.Helper()
	b := &bench{Base: base, own: own}
	server := second(t)
	bucket := fmt.Sprintf("owners-%d", buckets.Add(1))
	b.dir = filepath.Join(server.Dir, "objects", bucket, "shelf")
	b.cred = foreign.Credentials{AccessKey: config.NewSecret(server.AccessKey), SecretKey: config.NewSecret(server.SecretKey)}
	var err error
	b.theirs, err = blob.Open(t.Context(), blob.Config{
		Endpoint: server.Endpoint, Bucket: bucket, AccessKey: server.AccessKey, SecretKey: config.NewSecret(server.SecretKey), Region: server.Region,
	})
	require.NoError(t, err)
	t.Cleanup(b.theirs.Close)
	u, err := url.Parse("http://" + server.Endpoint)
	require.NoError(t, err)
	b.door = &door{next: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}}
	front := httptest.NewServer(b.door)
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(front.Close)
	b.place = foreign.Place{Endpoint: front.URL, Region: server.Region, Bucket: bucket, Prefix: "shelf", PathStyle: true}
	b.keep(t, b.cred)
	b.end(t)
	return b
}

// keep stores the bucket as the gateway does.
func (b *bench) keep(t *testing.T, cred foreign.Credentials) {
	t.Helper()
	keys, err := seal.Parse(sealingKey)
	require.NoError(t, err)
	by, text, err := cred.Seal(keys, bucketID)
	require.NoError(t, err)
	b.Exec(t, `insert into buckets (id, tenant_id, name, endpoint, region, bucket, prefix, path_style, sealed_by, sealed, tested_at)
		values ($1, $2, '', $3, $4, $5, $6, true, $7, $8, now())
		on conflict (id) do update set sealed = excluded.sealed, endpoint = excluded.endpoint`,
		bucketID, storetest.Tenant, b.place.Endpoint, b.place.Region, b.place.Bucket, b.place.Prefix, by, text)
}

// end makes a job with a small chapter and one of two parts, and ends it as a worker does.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.id = b.Queue(t, storetest.Tenant, job.Spec{
		Output:   job.Output{DeliverTo: bucketID, Metadata: &job.Metadata{Title: "A Book", Author: "An Author"}},
		Callback: &job.Callback{URL: "https://example.com/"},
	}, 1)
	b.One(t, `select num from jobs where id = $1`, []any{b.id}, &b.num)
	large := bytes.Repeat([]byte("a chapter of two parts. "), foreign.PartBytes/20)
	b.files = map[string][]byte{"An Author/A Book/001.wav": []byte("a small chapter"), "An Author/A Book/002 - Second.wav": large}
	b.artifact(t, "chapter-001.wav", b.files["An Author/A Book/001.wav"])
	b.artifact(t, "chapter-002.wav", large)
	b.Exec(t, `update chapters set title = '', state = 'ready', segments_done = segments_total, proof_digest = plan_digest, object_key = 'x', sample_rate = 22050, audio_samples = 22050 where job_id = $1`, b.id)
	b.Exec(t, `insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, segments_done, plan_digest, proof_digest, object_key, sample_rate, audio_samples)
		select job_id, 2, 'Second', state, 2, 1, 1, plan_digest, proof_digest, object_key, sample_rate, audio_samples from chapters where job_id = $1`, b.id)
	b.finish(t)
}

func (b *bench) finish(t *testing.T) {
	t.Helper()
	b.Exec(t, `update jobs set state = 'succeeded', segments_done = segments_total, chapters_total = 2, chapters_ready = 2, proof_digest = plan_digest,
		started_at = now(), finished_at = now(), version = version + 1 where id = $1`, b.id)
}

func (b *bench) artifact(t *testing.T, name string, data []byte) {
	t.Helper()
	sum := sha256.Sum256(data)
	key := fmt.Sprintf("jobs/%s/%s/%x-%s", storetest.Tenant, b.id, sum[:4], name)
	_, err := b.own.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), blob.PutOptions{})
	require.NoError(t, err)
	b.Exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, $2, 'audio/wav', $3, $4, $5)
		on conflict (job_id, name) do update set object_key = excluded.object_key, bytes = excluded.bytes, sha256 = excluded.sha256`, b.id, name, key, len(data), sum[:])
}

func (b *bench) dispatcher(t *testing.T, cfg export.Config) *export.Dispatcher {
	t.Helper()
	d, err := export.New(cfg, export.Deps{
		Log: testkit.Log(t), Source: b.own, Foreign: near, Changed: func(job.ID, int64) {}, Observe: func(string) {},
	})
	require.NoError(t, err)
	return d
}

// run runs a Dispatcher until stop, which waits for its end.
func (b *bench) run(t *testing.T, cfg export.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	d := b.dispatcher(t, cfg)
	go func() { done <- d.Run(ctx, b.Store) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

// state is what the database says of the export.
type state struct {
	State, Kind, Detail string
	Done, Total         int
	Attempts            int
}

func (b *bench) state(t *testing.T) (s state) {
	t.Helper()
	b.One(t, `select state, coalesce(error_kind, ''), coalesce(error_detail, ''), files_done, files_total, attempts from exports where job = $1`, []any{b.num},
		&s.State, &s.Kind, &s.Detail, &s.Done, &s.Total, &s.Attempts)
	return s
}

// await waits until the export is as ok says.
func (b *bench) await(t *testing.T, ok func(state) bool) state {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for s := b.state(t); ; s = b.state(t) {
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the export is %+v", s)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func ended(s state) bool { return s.State != "pending" }

// arrived fails the test unless the owner's bucket holds every file, and nothing else.
func (b *bench) arrived(t *testing.T) {
	t.Helper()
	got := map[string]bool{}
	for info, err := range b.theirs.List(t.Context(), "") {
		require.NoError(t, err)
		got[info.Key] = true
	}
	want := map[string]bool{"shelf/An Author/A Book/metadata.json": true}
	for path := range b.files {
		want["shelf/"+path] = true
	}
	require.Equal(t, want, got)
	for path, data := range b.files {
		kept, err := os.ReadFile(filepath.Join(b.dir, path))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, kept), path)
	}
}

// empty takes everything out of the owner's bucket.
func (b *bench) empty(t *testing.T) {
	t.Helper()
	require.NoError(t, os.RemoveAll(b.dir))
}

func (b *bench) events(t *testing.T) (list string) {
	t.Helper()
	b.One(t, `select coalesce(string_agg(event, ' ' order by sequence), '') from deliveries where job_id = $1`, []any{b.id}, &list)
	return list
}
