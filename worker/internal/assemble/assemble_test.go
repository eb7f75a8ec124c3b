package assemble_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const rate = 22050

// bench is an assembler over real parts; the test hands it its messages.
type bench struct {
	db    *pg.Pool
	blob  *blob.Store
	store *store.Store
	msgs  chan assemble.Message
	hints chan int64 // the first that nobody took
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	return newBenchOver(tb, func(b assemble.Blob) assemble.Blob { return b })
}

// newBenchOver has something between the assembler and the bucket.
func newBenchOver(tb testing.TB, between func(assemble.Blob) assemble.Blob) *bench {
	tb.Helper()
	b := &bench{db: testkit.Postgres(tb), blob: testkit.S3(tb), msgs: make(chan assemble.Message), hints: make(chan int64, 1)}
	var err error
	b.store, err = store.New(b.db, rand.Reader)
	require.NoError(tb, err)
	a := assemble.New(assemble.Config{Workers: 2, Encoders: 1, Attempts: 3, Tries: 3, Delay: 10 * time.Millisecond, Prefetch: 4, Page: 100, Hold: time.Minute, Poll: time.Second, Grace: 5 * time.Second},
		assemble.Deps{
			Source: b, Store: b.store, Blob: between(b.blob), Docs: b.blob, Log: testkit.Log(tb),
			Hint: func(_ job.ID, version int64) {
				select {
				case b.hints <- version:
				default:
				}
			},
			Keeper: lease.NewKeeper(lease.Config{Every: time.Second, Hard: time.Hour}, testkit.Log(tb)),
		})
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return b
}

// Fetch hands over what do asks for.
func (b *bench) Fetch(ctx context.Context, _ job.Class, _ int, wait time.Duration) ([]assemble.Message, error) {
	select {
	case m := <-b.msgs:
		return []assemble.Message{m}, nil
	case <-time.After(wait):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// note tells how a message was settled.
type note chan string

func (n note) Ack(context.Context) error { n <- "ack"; return nil }
func (n note) Nak() error                { n <- "nak"; return nil }
func (n note) InProgress() error         { return nil }

// do has one message assembled and requires that it was acknowledged.
func (b *bench) do(tb testing.TB, id job.ID, ordinal int) {
	tb.Helper()
	n := make(note, 1)
	b.msgs <- assemble.Message{Work: b.released(tb, id, ordinal), Message: n}
	require.Equal(tb, "ack", <-n)
}

// released releases what is due, and returns the message that is wanted: of what
// is not due any more, an old one.
func (b *bench) released(tb testing.TB, id job.ID, ordinal int) bus.Assembly {
	tb.Helper()
	_, err := plantest.Due(tb.Context(), b.db)
	require.NoError(tb, err)
	a := bus.Assembly{JobID: id, Ordinal: ordinal, Attempt: 1}
	require.NoError(tb, b.db.QueryRow(tb.Context(), `select coalesce(max(attempt), 1) from outbox where job_id = $1 and ordinal = $2`, id, ordinal).Scan(&a.Attempt))
	return a
}

// render stores audio for every segment of p and settles it.
func (b *bench) render(t *testing.T, p plantest.Plan, audio func(g bus.Segment) (hz int, samples []int16)) {
	t.Helper()
	bundles, err := plantest.Release(t.Context(), b.db, p)
	require.NoError(t, err)
	b.settle(t, bundles, func(g bus.Segment) *store.Rendition {
		hz, samples := audio(g)
		if samples == nil {
			return nil
		}
		return b.keep(t, p.Tenant, g, hz, samples)
	})
}

// settle settles bundles with renditions; without one a segment has failed.
func (b *bench) settle(tb testing.TB, bundles []bus.Bundle, rendition func(g bus.Segment) *store.Rendition) {
	tb.Helper()
	var outcomes []store.Outcome
	for _, bundle := range bundles {
		for _, g := range bundle.Segments {
			o := store.Outcome{
				Ref: store.RefOf(bundle), Segment: g.N, Chapter: g.Chapter, Key: g.RenditionKey, Seconds: g.PredictedSeconds,
				State: job.SegmentDone, Rendition: rendition(g),
			}
			if o.Rendition == nil {
				o.State, o.ErrorKind, o.ErrorDetail = job.SegmentFailed, job.Engine, "It would not."
			}
			outcomes = append(outcomes, o)
		}
	}
	for group := range slices.Chunk(outcomes, store.MaxGroup) {
		_, err := b.store.Settle(tb.Context(), group)
		require.NoError(tb, err)
	}
}

func (b *bench) keep(tb testing.TB, tenant job.Tenant, g bus.Segment, hz int, samples []int16) *store.Rendition {
	tb.Helper()
	data := wav.Encode(hz, samples)
	sum := sha256.Sum256(data)
	_, err := b.blob.Put(tb.Context(), store.ObjectKey(tenant, g.RenditionKey, ""), bytes.NewReader(data), int64(len(data)), blob.PutOptions{IfAbsent: true})
	require.NoError(tb, err)
	return &store.Rendition{
		Key: g.RenditionKey, Tenant: tenant, SampleRate: hz, Samples: int64(len(samples)), Bytes: int64(len(data)), SHA256: sum[:],
	}
}

func ramp(n int) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(i%1000 + 1)
	}
	return s
}

func (b *bench) chapter(t *testing.T, id job.ID) (state job.ChapterState, detail string) {
	t.Helper()
	require.NoError(t, b.db.QueryRow(t.Context(), `select state, coalesce(error_detail, '') from chapters where job_id = $1 and ordinal = 1`, id).Scan(&state, &detail))
	return state, detail
}

func (b *bench) read(t *testing.T, id job.ID, name string) []byte {
	t.Helper()
	var key, sum string
	require.NoError(t, b.db.QueryRow(t.Context(), `select object_key, encode(sha256, 'hex') from artifacts where job_id = $1 and name = $2`, id, name).Scan(&key, &sum))
	r, _, err := b.blob.Get(t.Context(), key, blob.GetOptions{})
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	got := sha256.Sum256(data)
	require.Equal(t, sum, hex.EncodeToString(got[:]))
	return data
}

func TestAChapterWithGapsIsJoinedAroundThem(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{OnFailure: job.AllowPartial, Chapters: []plantest.Chapter{plantest.Sentences("One", "a", "bad", "c", "bad too", "e")}})
	b.render(t, p, func(w bus.Segment) (int, []int16) {
		if strings.HasPrefix(w.Text, "bad") {
			return 0, nil
		}
		return rate, ramp(1000)
	})
	b.do(t, p.ID, 1)
	_, samples, err := wav.Decode(bytes.NewReader(b.read(t, p.ID, "chapter-001.wav")), 1<<20)
	require.NoError(t, err)
	pause, end := int(7717), int(1.5*rate)
	require.Len(t, samples, 3*1000+2*pause+end)
	require.Equal(t, ramp(1000), samples[1000+pause:2000+pause])
	b.do(t, p.ID, 0)
	var state job.State
	require.NoError(t, b.db.QueryRow(t.Context(), `select state from jobs where id = $1`, p.ID).Scan(&state))
	require.Equal(t, job.StatePartial, state)
	require.Contains(t, string(b.read(t, p.ID, "manifest.json")), `"detail":"2 of 5 segments failed. Segment 2: It would not."`)
}

func TestWhatCannotBeJoinedFailsClearly(t *testing.T) {
	t.Parallel()
	for detail, damage := range map[string]func(*testing.T, *bench, plantest.Plan){
		"Segments at 22050 Hz and at 24000 Hz cannot be one chapter.": func(*testing.T, *bench, plantest.Plan) {},
		"The segments do not match the plan of this chapter.": func(t *testing.T, b *bench, p plantest.Plan) {
			t.Helper()
			_, err := b.db.Exec(t.Context(), `update chapters set plan_digest = $2 where job_id = $1`, p.ID, make([]byte, 32))
			require.NoError(t, err)
		},
	} {
		t.Run(detail, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			p := plantest.Insert(t, b.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a", "b")}})
			damage(t, b, p)
			b.render(t, p, func(w bus.Segment) (int, []int16) {
				if w.N == 2 && strings.HasPrefix(detail, "Segments at") {
					return 24000, ramp(100)
				}
				return rate, ramp(100)
			})
			b.do(t, p.ID, 1)
			state, got := b.chapter(t, p.ID)
			require.Equal(t, job.ChapterFailed, state)
			require.Equal(t, detail, got)
			b.do(t, p.ID, 0)
			var jobDetail string
			require.NoError(t, b.db.QueryRow(t.Context(), `select error_detail from jobs where id = $1 and state = 'failed'`, p.ID).Scan(&jobDetail))
			require.Equal(t, "1 of 1 chapters failed. Chapter 1: "+detail, jobDetail)
		})
	}
}

func TestTwoWorkersOnOneChapterMakeOneFile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a", "b", "c")}})
	b.render(t, p, func(bus.Segment) (int, []int16) { return rate, ramp(50_000) })
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { b.do(t, p.ID, 1) })
	}
	wg.Wait()
	b.do(t, p.ID, 1) // and once more, late
	var ready, artifacts int
	require.NoError(t, b.db.QueryRow(t.Context(), `select chapters_ready, (select count(*) from artifacts where job_id = id) from jobs where id = $1`, p.ID).Scan(&ready, &artifacts))
	require.Equal(t, []int{1, 1}, []int{ready, artifacts})
	b.read(t, p.ID, "chapter-001.wav")
	b.do(t, p.ID, 0)
	b.do(t, p.ID, 0)
}

// The callback of what was committed may be on its way already.
func TestWatchersAreToldBeforeTheMessageIsSettled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a")}})
	b.render(t, p, func(bus.Segment) (int, []int16) { return rate, ramp(1000) })
	n := make(note)
	b.msgs <- assemble.Message{Work: b.released(t, p.ID, 1), Message: n}
	var told, version int64
	select {
	case told = <-b.hints:
	case <-time.After(time.Minute):
		t.Error("nobody was told while the bus took its time")
	}
	require.Equal(t, "ack", <-n)
	require.NoError(t, b.db.QueryRow(t.Context(), `select version from jobs where id = $1 and chapters_ready = 1`, p.ID).Scan(&version))
	require.Equal(t, version, told)
}

// long plans and renders a chapter of so many segments of ten seconds.
func (b *bench) long(tb testing.TB, segments int) plantest.Plan {
	tb.Helper()
	const seconds = 10
	c := plantest.Chapter{Title: "Long"}
	for range segments {
		c.Segments = append(c.Segments, plantest.Segment{Text: "The same words again.", Seconds: seconds})
	}
	p := plantest.Insert(tb, b.db, plantest.Book{Chapters: []plantest.Chapter{c}})
	bundles, err := plantest.Release(tb.Context(), b.db, p)
	require.NoError(tb, err)
	r := b.keep(tb, p.Tenant, p.Segments[0], rate, ramp(seconds*rate))
	b.settle(tb, bundles, func(bus.Segment) *store.Rendition { return r })
	return p
}

// heapLimit bounds what joining may add to the heap of the whole process, the
// S3 server and everything else in it included.
const heapLimit = 32 << 20

// TestALongChapterTakesLittleMemory joins a chapter whose file has twice as
// many bytes as the heap may grow; BenchmarkJoin does the same for two hours.
func TestALongChapterTakesLittleMemory(t *testing.T) {
	b := newBench(t)
	const segments = 152
	p := b.long(t, segments)
	before := heap()
	peak, stop := watchHeap()
	b.do(t, p.ID, 1)
	stop()
	t.Logf("heap %d KiB before, at most %d KiB while joining", before>>10, peak.Load()>>10)
	if grown := int64(peak.Load()) - int64(before); grown > heapLimit {
		t.Errorf("the heap grew by %d KiB while a long chapter was joined; want at most %d", grown>>10, heapLimit>>10)
	}
	state, detail := b.chapter(t, p.ID)
	require.Equal(t, job.ChapterReady, state, detail)
	var samples, size int64
	require.NoError(t, b.db.QueryRow(t.Context(), `select audio_samples, bytes from chapters where job_id = $1`, p.ID).Scan(&samples, &size))
	require.Equal(t, int64(segments*10*rate+(segments-1)*7717+rate*3/2), samples)
	require.Greater(t, size, int64(2*heapLimit))
}

// BenchmarkJoin joins two hours of audio in 720 segments.
func BenchmarkJoin(b *testing.B) {
	w := newBench(b)
	for b.Loop() {
		b.StopTimer()
		p := w.long(b, 720)
		before := heap()
		peak, stop := watchHeap()
		b.StartTimer()
		begun := time.Now()
		w.do(b, p.ID, 1)
		took := time.Since(begun)
		stop()
		b.ReportMetric(7200/took.Seconds(), "audio-s/s")
		b.ReportMetric(float64(int64(peak.Load())-int64(before))/(1<<20), "MiB-heap")
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap keeps the largest heap until stop is called.
func watchHeap() (peak *atomic.Uint64, stop func()) {
	peak = &atomic.Uint64{}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return peak, func() { close(quit); <-done }
}
