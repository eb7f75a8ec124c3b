package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/testkit/commands"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// within bounds every wait of these tests.
const within = 60 * time.Second

// world is what a worker is connected to: real parts, the test's own.
type world struct {
	db   *pg.Pool
	bus  *bus.Bus
	blob *blob.Store
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldWith(tb, bus.Config{})
}

// newForgetfulWorld has a short ack wait, so that what a dead worker held comes again soon.
func newForgetfulWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldWith(tb, bus.Config{AckWait: 2 * time.Second})
}

func newWorldWith(tb testing.TB, cfg bus.Config) *world {
	tb.Helper()
	server := testkit.NATSServer(tb, tb.TempDir())
	return &world{db: testkit.Postgres(tb), bus: testkit.Bus(tb, server, cfg), blob: testkit.S3(tb)}
}

func (w *world) deps(tb testing.TB) Deps {
	tb.Helper()
	return Deps{
		Log: testkit.Log(tb), Registry: telemetry.NewRegistry(), Bus: w.bus, DB: w.db, Blob: w.blob, Random: rand.Reader,
	}
}

func quickConfig() Config {
	cfg := DefaultConfig()
	cfg.RetryDelay, cfg.Grace, cfg.CallTime, cfg.Hold = 20*time.Millisecond, 5*time.Second, 2*time.Second, 20*time.Second
	cfg.Ear.Ear = earNone // whatever is installed here: simulated engines speak in tones
	return cfg
}

// testPool is the pool of the scripted engines.
func testPool() Pool { return Pool{Name: "test", Engine: "espeak", Calls: 2, Batch: 8, InHand: 32} }

// start runs a worker with a scripted engine until stop is called or the test ends.
func (w *world) start(t *testing.T, cfg Config, e engine.Engine, change func(*parts)) (stop func()) {
	t.Helper()
	deps := w.deps(t)
	p := connected(deps)
	if change != nil {
		change(&p)
	}
	s, err := build(t.Context(), cfg, deps, p, nil, []Pool{testPool()}, []*fleet.Fleet{fleetOf(t, cfg, e)})
	require.NoError(t, err)
	return background(t, s.run)
}

// fleetOf returns a fleet of e alone, in the test pool.
func fleetOf(t *testing.T, cfg Config, e engine.Engine) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(cfg.fleet(testPool(), nil, nil, testkit.Log(t)), e)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// background runs f until stop is called, or the test ends.
func background(tb testing.TB, f func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the worker ended with %v", err)
		}
	}
	tb.Cleanup(stop)
	return stop
}

// artifact reads a finished file of a job.
func (w *world) artifact(tb testing.TB, id job.ID, name string) []byte {
	tb.Helper()
	var key string
	require.NoError(tb, w.db.QueryRow(tb.Context(), `select object_key from artifacts where job_id = $1 and name = $2`, id, name).Scan(&key))
	return w.object(tb, key)
}

func (w *world) object(tb testing.TB, key string) []byte {
	tb.Helper()
	r, _, err := w.blob.Get(tb.Context(), key, blob.GetOptions{})
	require.NoError(tb, err)
	b, err := io.ReadAll(r)
	require.NoError(tb, err)
	require.NoError(tb, r.Close())
	return b
}

func (w *world) number(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, w.db.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func (w *world) manifest(tb testing.TB, id job.ID) assemble.Manifest {
	tb.Helper()
	var m struct {
		assemble.Manifest

		Signature json.RawMessage `json:"signature"`
	}
	d := json.NewDecoder(bytes.NewReader(w.artifact(tb, id, assemble.ManifestName)))
	d.DisallowUnknownFields()
	require.NoError(tb, d.Decode(&m))
	require.NotEmpty(tb, m.Signature)
	return m.Manifest
}

// pcm parses a WAV file by itself, so that our own reader is not its witness.
func pcm(t *testing.T, file []byte) (rate int, samples []int16) {
	t.Helper()
	require.Equal(t, "RIFF", string(file[:4]))
	require.Equal(t, len(file)-8, int(binary.LittleEndian.Uint32(file[4:])))
	require.Equal(t, "WAVEfmt ", string(file[8:16]))
	require.Equal(t, "data", string(file[36:40]))
	require.Equal(t, len(file)-44, int(binary.LittleEndian.Uint32(file[40:])))
	samples = make([]int16, (len(file)-44)/2)
	require.NoError(t, binary.Read(bytes.NewReader(file[44:]), binary.LittleEndian, samples))
	return int(binary.LittleEndian.Uint32(file[24:])), samples
}

// checkBook checks that the files of a job are what its manifest says, to the sample.
func (w *world) checkBook(t *testing.T, id job.ID) assemble.Manifest {
	t.Helper()
	m := w.manifest(t, id)
	for _, c := range m.Chapters {
		if c.State != job.ChapterReady {
			continue
		}
		file := w.artifact(t, id, c.Artifact)
		require.Len(t, file, int(c.Bytes))
		rate, samples := pcm(t, file)
		require.Equal(t, c.SampleRate, rate)
		require.Len(t, samples, int(c.AudioSamples))
		at := int64(0)
		for _, g := range c.Segments {
			if g.StartSample == nil {
				continue
			}
			requireSilence(t, samples[at:*g.StartSample], "before segment %d", g.N)
			rendition := w.object(t, w.objectKey(t, g.RenditionKey))
			_, want := pcm(t, rendition)
			at = *g.StartSample + g.Samples
			require.Equal(t, want, samples[*g.StartSample:at], "segment %d", g.N)
			for _, mark := range append(g.Sentences, g.Words...) {
				require.True(t, mark[0] >= 0 && mark[0] < mark[1] && mark[1] <= int64(len(g.Text)), "mark %v of %q", mark, g.Text)
				require.True(t, mark[2] >= *g.StartSample && mark[2] <= at, "mark %v of segment %d at %d to %d", mark, g.N, *g.StartSample, at)
			}
		}
		require.Len(t, samples[at:], int(m.Pauses.Chapter*float64(rate)))
		requireSilence(t, samples[at:], "at the end of chapter %d", c.Ordinal)
	}
	return m
}

func (w *world) objectKey(t *testing.T, rendition string) (key string) {
	t.Helper()
	var tenant job.Tenant
	var suffix string
	require.NoError(t, w.db.QueryRow(t.Context(), `select t.id, r.suffix from renditions r join tenants t on t.num = r.tenant
		where encode(r.key, 'hex') = $1`, rendition).Scan(&tenant, &suffix))
	return store.ObjectKey(tenant, rendition, suffix)
}

func requireSilence(t *testing.T, samples []int16, format string, args ...any) {
	t.Helper()
	for i, s := range samples {
		if s != 0 {
			t.Fatalf("sample %d of %d is %d; want silence %s", i, len(samples), s, fmt.Sprintf(format, args...))
		}
	}
}

// espeakHelper builds the helper program for one test.
func espeakHelper(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	require.NoError(tb, commands.Build(tb.Context(), dir, commands.Espeak))
	return filepath.Join(dir, "voicemill-espeak")
}

func TestABookBecomesAudio(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ready := make(chan struct{})
	cfg := quickConfig()
	cfg.Pools = []Pool{{Name: "test", Engine: "espeak", Espeak: EspeakConfig{Helper: espeakHelper(t)}}}
	deps := w.deps(t)
	deps.Ready = func() { close(ready) }
	stop := background(t, func(ctx context.Context) error { return Run(ctx, cfg, deps) })
	select {
	case <-ready:
	case <-time.After(within):
		t.Fatal("the worker was not ready in time")
	}
	require.Positive(t, w.number(t, `select count(*) from voices where pool = 'test' and is_default and name = 'narrator-en'`))

	book := plantest.Book{
		Pool: "test", Callback: &job.Callback{URL: "https://example.com/hook", Events: job.Events()},
		Chapters: []plantest.Chapter{
			{Title: "One", Segments: []plantest.Segment{
				{Text: "It was a bright cold day in April.", Break: "sentence"},
				{Text: "The clocks were striking thirteen.", Break: "paragraph"},
				{Text: "Nobody looked up, because it was the third of the month, and the bell had a habit of lying.", Break: "none"},
				{Text: "Dr. Smith paid $3.50 for 12 apples.", Break: "sentence"},
			}},
			plantest.Sentences("Two", "The second chapter is short.", "It ends here."),
		},
	}
	p := plantest.Insert(t, w.db, book)
	plantest.Schedule(t, w.db, w.bus, p)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))

	m := w.checkBook(t, p.ID)
	require.Equal(t, job.StateSucceeded, m.State)
	require.Equal(t, m.Digests.Plan, m.Digests.Proof)
	require.Len(t, m.Chapters, 2)
	require.Equal(t, m.Chapters[0].AudioSamples, m.Chapters[1].StartSample)
	require.Len(t, m.Chapters[0].Segments, 4)
	require.NotEmpty(t, m.Chapters[0].Segments[0].Words, "espeak-ng tells the times of words")
	first := m.Chapters[0].Segments
	require.Equal(t, int64(7717), *first[1].StartSample-first[0].Samples, "0.35 s at 22,050 Hz")
	require.Equal(t, *first[2].StartSample+first[2].Samples, *first[3].StartSample, "no pause after a segment without a break")

	require.Equal(t, 6, w.number(t, `select count(*) from segments where job_id = $1 and state = 'done'`, p.ID))
	require.Equal(t, 2, w.number(t, `select count(*) from deliveries where job_id = $1 and event = 'chapter.ready'`, p.ID))
	require.Equal(t, 1, w.number(t, `select count(*) from deliveries where job_id = $1 and event = 'job.succeeded'`, p.ID))
	require.Equal(t, 0, w.number(t, `select count(*) from outbox`))
	var audio, gpu float64
	require.NoError(t, w.db.QueryRow(t.Context(), `select audio_seconds, gpu_seconds from jobs where id = $1`, p.ID).Scan(&audio, &gpu))
	require.InDelta(t, m.Totals.AudioSeconds, audio+5*0.35+0.35+2*1.5-0.35*3, 4, "the book is its segments and its pauses")
	require.Positive(t, gpu)

	// The same words again are there already: no engine is asked.
	again := plantest.Insert(t, w.db, book)
	plantest.Schedule(t, w.db, w.bus, again)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, again, within))
	require.NoError(t, w.db.QueryRow(t.Context(), `select gpu_seconds from jobs where id = $1`, again.ID).Scan(&gpu))
	require.Zero(t, gpu)
	require.Equal(t, w.artifact(t, p.ID, "chapter-001.wav"), w.artifact(t, again.ID, "chapter-001.wav"))
	stop()

	var metrics strings.Builder
	require.NoError(t, deps.Registry.Write(&metrics))
	for _, line := range []string{
		`voicemill_worker_segments_total{outcome="spoken",pool="test"} 6`, `voicemill_worker_segments_total{outcome="reused",pool="test"} 6`,
		`voicemill_worker_assembly_duration_seconds_count{kind="join",result="ok"} 4`,
		`voicemill_worker_jobs_ended_total{state="succeeded"} 2`, `voicemill_worker_segment_errors_total{kind="engine",pool="test"} 0`,
	} {
		require.Contains(t, metrics.String(), line)
	}
}

func TestEveryFileIsAcceptedByFFprobe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, nil)
	p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b c d e", "f g h i j")}})
	plantest.Schedule(t, w.db, w.bus, p)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	m := w.checkBook(t, p.ID)
	path := filepath.Join(t.TempDir(), "chapter.wav")
	require.NoError(t, os.WriteFile(path, w.artifact(t, p.ID, "chapter-001.wav"), 0o600))
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,sample_rate,channels,duration_ts", "-of", "csv=p=0", path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, fmt.Sprintf("pcm_s16le,22050,1,%d", m.Chapters[0].AudioSamples), strings.TrimSpace(string(out)))
}
