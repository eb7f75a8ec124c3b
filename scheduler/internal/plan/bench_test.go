package plan_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// bucket is a bucket whose failures a test scripts.
type bucket struct {
	mu       sync.Mutex
	objects  map[string][]byte
	down     error            // every call fails with it
	broken   error            // every read past the first 4 KiB fails with it
	onRead   func()           // called at every read
	onReadOf func(key string) // the same, with the object that is read
}

func (b *bucket) put(key string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = data
}

func (b *bucket) set(change func(*bucket)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *bucket) ReaderAt(_ context.Context, key, _ string) (io.ReaderAt, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[key]
	switch {
	case b.down != nil:
		return nil, 0, b.down
	case !ok:
		return nil, 0, &job.Error{Op: "bucket", Kind: job.NotFound}
	}
	return &object{b, key, bytes.NewReader(data)}, int64(len(data)), nil
}

// Put implements plan.Covers.
func (b *bucket) Put(_ context.Context, key string, r io.Reader, _ int64, _ blob.PutOptions) (blob.Info, error) {
	data, err := io.ReadAll(r)
	if err == nil {
		b.put(key, data)
	}
	return blob.Info{Key: key}, err
}

type object struct {
	b   *bucket
	key string
	r   *bytes.Reader
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	o.b.mu.Lock()
	broken, onRead, onReadOf := o.b.broken, o.b.onRead, o.b.onReadOf
	o.b.mu.Unlock()
	if onReadOf != nil {
		onReadOf(o.key)
	}
	if onRead != nil {
		onRead()
	}
	if broken != nil {
		return 0, broken
	}
	return o.r.ReadAt(p, off)
}

// bench is a Planner on a real database.
type bench struct {
	*storetest.Base
	bucket   *bucket
	planner  *plan.Planner
	outcomes chan plan.Outcome
}

func newBench(tb testing.TB, limits job.Limits) *bench {
	tb.Helper()
	b := &bench{Base: storetest.New(tb), bucket: &bucket{objects: map[string][]byte{}}, outcomes: make(chan plan.Outcome, 1000)}
	b.planner = b.newPlanner(tb, limits, 20*time.Millisecond)
	return b
}

func (b *bench) newPlanner(tb testing.TB, limits job.Limits, poll time.Duration) *plan.Planner {
	tb.Helper()
	cfg := plan.DefaultConfig()
	cfg.Backoff, cfg.BackoffMax, cfg.Poll = 20*time.Millisecond, 50*time.Millisecond, poll
	require.NoError(tb, cfg.Validate())
	p, err := plan.New(cfg, plan.Deps{
		Uploads: b.bucket, Covers: b.bucket, Random: rand.Reader, Log: testkit.Log(tb), Limits: limits,
		Planned: func(o plan.Outcome) { b.outcomes <- o },
	})
	require.NoError(tb, err)
	return p
}

func (b *bench) run(tb testing.TB) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- b.planner.Run(ctx, b.Store) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(tb, <-done)
		})
	}
	tb.Cleanup(stop)
	return stop
}

// outcome waits for the outcome of a job.
func (b *bench) outcome(tb testing.TB, id job.ID) plan.Outcome {
	tb.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case o := <-b.outcomes:
			if o.ID == id {
				return o
			}
		case <-deadline:
			state, kind, detail := b.State(tb, id)
			tb.Fatalf("job %s is still %s (%s: %s)", id, state, kind, detail)
		}
	}
}

func (b *bench) upload(tb testing.TB, media string, data []byte) job.ID {
	tb.Helper()
	return b.uploadOf(tb, storetest.Tenant, job.Bulk, media, data)
}

func (b *bench) uploadOf(tb testing.TB, tenant job.Tenant, class job.Class, media string, data []byte) job.ID {
	tb.Helper()
	a := b.Accepted(tb, tenant, job.Spec{Class: class, Input: job.Input{Upload: "upl_1", Media: media}})
	a.SourceKey = fmt.Sprintf("uploads/%s/%s", tenant, a.ID)
	b.bucket.put(a.SourceKey, data)
	b.Insert(tb, a)
	b.planner.Wake()
	return a.ID
}

// queued waits until so many jobs are.
func (b *bench) queued(tb testing.TB, n int) {
	tb.Helper()
	require.Eventually(tb, func() bool { return b.Count(tb, `select count(*) from jobs where state = 'queued'`) == n }, 5*time.Minute, 10*time.Millisecond)
}

// interrupted stores a job whose planner died.
func (b *bench) interrupted(tb testing.TB, a *bus.AcceptedJob, attempts int) {
	tb.Helper()
	b.Exec(tb, `insert into jobs (id, tenant_id, class, state, spec, on_failure, source_key, plan_attempts, accepted_at)
values ($1, $2, $3, 'planning', $4, $5, nullif($6, ''), $7, $8)`,
		a.ID, a.Tenant, a.Spec.Class, a.Spec, a.Spec.OnFailure, a.SourceKey, attempts, a.AcceptedAt)
}

// epub returns a small book: chapters of paragraphs of sentences.
func epub(tb testing.TB, chapters, paragraphs int, sentence func(c, p int) string) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	add := func(name, content string) {
		w, err := z.Create(name)
		require.NoError(tb, err)
		_, err = io.WriteString(w, content)
		require.NoError(tb, err)
	}
	add("mimetype", job.MediaEPUB)
	add("META-INF/container.xml", `<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`)
	var manifest, spine, toc strings.Builder
	for c := range chapters {
		fmt.Fprintf(&manifest, `<item id="c%d" href="c%d.xhtml" media-type="application/xhtml+xml"/>`, c, c)
		fmt.Fprintf(&spine, `<itemref idref="c%d"/>`, c)
		fmt.Fprintf(&toc, `<li><a href="c%d.xhtml">Chapter %d</a></li>`, c, c+1)
		var text strings.Builder
		fmt.Fprintf(&text, `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body><h1>Chapter %d</h1>`, c+1)
		for p := range paragraphs {
			fmt.Fprintf(&text, `<p>%s</p>`, sentence(c, p))
		}
		text.WriteString(`</body></html>`)
		add(fmt.Sprintf("c%d.xhtml", c), text.String())
	}
	add("nav.xhtml", `<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body><nav epub:type="toc"><ol>`+toc.String()+`</ol></nav></body></html>`)
	add("book.opf", `<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">1</dc:identifier><dc:title>A Book</dc:title><dc:language>en</dc:language></metadata><manifest><item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>`+
		manifest.String()+`</manifest><spine>`+spine.String()+`</spine></package>`)
	require.NoError(tb, z.Close())
	return buf.Bytes()
}

// withCover returns an EPUB with a picture as its cover.
func withCover(tb testing.TB, book, picture []byte) []byte {
	tb.Helper()
	in, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	require.NoError(tb, err)
	var buf bytes.Buffer
	out := zip.NewWriter(&buf)
	add := func(name string, data []byte) {
		w, err := out.Create(name)
		require.NoError(tb, err)
		_, err = w.Write(data)
		require.NoError(tb, err)
	}
	for _, f := range in.File {
		r, err := f.Open()
		require.NoError(tb, err)
		data, err := io.ReadAll(r)
		require.NoError(tb, err)
		if f.Name == "book.opf" {
			data = bytes.Replace(data, []byte("<manifest>"), []byte(`<manifest><item id="front" href="front.png" media-type="image/png" properties="cover-image"/>`), 1)
		}
		add(f.Name, data)
	}
	add("front.png", picture)
	require.NoError(tb, out.Close())
	return buf.Bytes()
}

func sentence(c, p int) string {
	return fmt.Sprintf("This is sentence number %d of chapter %d, and it says what it has to say. Then it ends.", p, c)
}

// BenchmarkPlanToPostgres reads a book of 100,000 words into Postgres; the aim
// is 2 million words a minute.
func BenchmarkPlanToPostgres(b *testing.B) {
	const words = 100_000
	line := strings.Repeat("The quick brown fox of the old story jumps over a lazy dog again. ", 5)
	perLine := len(strings.Fields(line))
	book := epub(b, 20, words/20/perLine, func(c, p int) string { return fmt.Sprintf("%s %d %d.", line, c, p) })
	bench := newBench(b, job.DefaultLimits())
	bench.run(b)
	b.ReportAllocs()
	for b.Loop() {
		id := bench.upload(b, job.MediaEPUB, book)
		if !bench.outcome(b, id).Queued {
			b.Fatal("the book was refused")
		}
	}
	b.ReportMetric(words*float64(b.N)/b.Elapsed().Minutes(), "words/min")
}

// BenchmarkALineBehindOthersUploads takes the time from the acceptance of one
// line, and of one small document, of a tenant to its plan, while 1,000 books
// of each of 20 other tenants wait and are planned; the aim is a second.
func BenchmarkALineBehindOthersUploads(b *testing.B) {
	for _, kind := range []string{"line", "document"} {
		b.Run(kind, func(b *testing.B) {
			bench := newBench(b, job.DefaultLimits())
			bench.crowd(b, 20, 1000)
			bench.run(b)
			bench.anyOutcome(b) // the crowd is under way
			document := epub(b, 1, 1, sentence)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				var id job.ID
				if kind == "line" {
					id = bench.Accept(b, storetest.Tenant, job.Spec{Input: job.Input{Text: "One line of another tenant."}})
					bench.planner.Wake()
				} else {
					id = bench.upload(b, job.MediaEPUB, document)
				}
				if !bench.outcome(b, id).Queued {
					b.Fatal("it was refused")
				}
				took = append(took, time.Since(start))
			}
			if bench.Count(b, `select count(*) from jobs where state = 'accepted'`) == 0 {
				b.Fatal("the crowd ended before the measurement")
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "worst-ms")
		})
	}
}

// crowd stores accepted books of other tenants, each.
func (b *bench) crowd(tb testing.TB, tenants, each int) {
	tb.Helper()
	names := make([]string, tenants)
	book := epub(tb, 10, 20, sentence)
	for i := range names {
		names[i] = fmt.Sprintf("crowd-%02d", i)
		b.AddTenant(tb, job.Tenant(names[i]))
	}
	b.bucket.put("uploads/crowd", book)
	b.Exec(tb, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, source_key)
select 'job_' || tenant || i, tenant, 'bulk', 'accepted', '{"input": {"upload": "upl_1", "media_type": "application/epub+zip"}}', 'fail', now() - interval '1 h', 'uploads/crowd'
from unnest($1::text[]) tenant cross join generate_series(1, $2::int) i`, names, each)
}

func (b *bench) anyOutcome(tb testing.TB) {
	tb.Helper()
	select {
	case o := <-b.outcomes:
		require.True(tb, o.Queued)
	case <-time.After(time.Minute):
		tb.Fatal("nothing was planned")
	}
}
