package mill_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/platform/testkit"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const (
	testLimit    = 20 * time.Minute
	fewSegments  = 2 * aChapter // without VOICEMILL_MILL_SEGMENTS
	syncSegments = 4 * aChapter // of the book whose syncs are counted
)

// TestWhatASegmentCosts has a book spoken by an engine that answers at once, by one
// `voicemill up` and by the services apart with S3 in a process of its own, and prints
// what a segment costs each. VOICEMILL_MILL_SEGMENTS says of how many segments the book
// is; then syncs to disk are counted, too.
func TestWhatASegmentCosts(t *testing.T) {
	n := fewSegments
	if v := os.Getenv("VOICEMILL_MILL_SEGMENTS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	for name, open := range map[string]func(t *testing.T, pools string) site{"embedded": embedded, "apart": apart} {
		t.Run(name, func(t *testing.T) {
			engine, pools := startEngine(t)
			s := open(t, pools)
			s.measure(t, name, engine, n)
		})
	}
}

// site is a deployment.
type site struct {
	url, key string
	roots    map[string]int // process ids, by what is printed of them
	admins   map[string]string
	store    *blob.Store // like the one that the deployment uses
	storing  func() time.Duration
}

// URL implements caller.Server.
func (s site) URL() string { return s.url }

// Key implements caller.Server.
func (s site) Key() string { return s.key }

// embedded is one `voicemill up`. The store of the bare loop is embedded in this process.
func embedded(t *testing.T, pools string) site {
	solo := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none"}, Args: []string{"--pools-file", pools}})
	server, err := s3d.Start(t.Context(), s3d.Config{DataDir: stage.Dir(t)}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop(context.WithoutCancel(t.Context()))) })
	keys := server.Credentials()
	bucket, err := blob.Open(t.Context(), blob.Config{Endpoint: server.Endpoint(), Bucket: "bare", AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, blob.InProcess(server))
	require.NoError(t, err)
	t.Cleanup(bucket.Close)
	return site{
		url: solo.URL(), key: solo.Key(), roots: map[string]int{"up": solo.PID()}, admins: map[string]string{"up": solo.Admin()},
		store: bucket, storing: ownCPU,
	}
}

// apart is every service and every server in a process of its own.
func apart(t *testing.T, pools string) site {
	s := stage.NewWorker(t, bin, "VOICEMILL_EAR=none", "VOICEMILL_POOLS_FILE="+pools)
	roots, admins := map[string]int{"postgres": s.PID(stage.Database)}, map[string]string{}
	for _, name := range []string{stage.Gateway, stage.Scheduler, stage.Worker, stage.NATS, stage.S3} {
		roots[name] = s.PID(name)
		if admin := s.Admin(name); admin != "" {
			admins[name] = "http://" + admin
		}
	}
	return site{
		url: s.URL, key: s.Key, roots: roots, admins: admins, store: s.Bucket(t),
		storing: func() time.Duration { cpu, _ := proctree.Spent(roots[stage.S3]); return cpu + ownCPU() },
	}
}

// cost returns the processor time of every part so far.
func (s site) cost() map[string]time.Duration {
	cost := map[string]time.Duration{}
	for name, pid := range s.roots {
		rest, postgres := proctree.Spent(pid)
		if name != "postgres" {
			cost[name] += rest
		}
		cost["postgres"] += postgres
	}
	return cost
}

// speakBook has a book of n sentences spoken, under an idempotency key, and returns its
// document and how long it took from the submit to the end of the job.
func speakBook(ctx context.Context, t *testing.T, door caller.Server, key, title string, n int) (jobdoc.Document, time.Duration) {
	t.Helper()
	call := caller.New(t, door) //nolint:contextcheck // its connections end with the test
	upload, err := call.Upload(ctx, job.MediaMarkdown, book(title, n))
	require.NoError(t, err)
	begun := time.Now()
	doc, err := call.Submit(ctx, key, map[string]any{
		"input": map[string]any{"upload": upload, "media_type": job.MediaMarkdown}, "class": "bulk", "voice": "mill",
	})
	require.NoError(t, err)
	doc, err = call.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, doc.State)
	return doc, time.Since(begun)
}

func (s site) measure(t *testing.T, name string, engine *instant, n int) {
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	speakBook(ctx, t, s, "warm", "what warms up", warmUp)
	for _, pid := range s.roots {
		forgetPeak(t, pid)
	}
	before, count, texts := s.cost(), series(ctx, t, slices.Collect(maps.Values(s.admins))...), engine.texts.Load()
	var profiles []func()
	for part, admin := range s.admins {
		profiles = append(profiles, profile(ctx, t, name+"-"+part, admin, 5))
	}
	own := ownCPU()
	doc, took := speakBook(ctx, t, s, "book", "the book", n)
	mine, segments, chapters := ownCPU()-own, doc.Progress.Segments.Total, doc.Progress.Chapters.Total
	after, counts := s.cost(), series(ctx, t, slices.Collect(maps.Values(s.admins))...)
	for _, wait := range profiles {
		wait()
	}
	require.GreaterOrEqual(t, engine.texts.Load()-texts, int64(segments)) // a canary may be among them

	spentBefore := s.storing()
	loop, err := bare(ctx, s.store, "loop", n)
	require.NoError(t, err)
	storing := s.storing() - spentBefore

	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "\n    %-44s "+format, append([]any{what}, args...)...)
	}
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(segments) }
	line("segments, chapters, load average", "%d, %d, %s", segments, chapters, proctree.Load())
	line("segments a second", "%.0f", float64(segments)/took.Seconds())
	line("of a bare loop on the same store", "%.2f of %.0f", loop.Seconds()/float64(n)*float64(segments)/took.Seconds(), float64(n)/loop.Seconds())
	total := 0.0
	for _, part := range slices.Sorted(maps.Keys(after)) {
		ms := each(after[part] - before[part])
		line("CPU ms a segment: "+part, "%.2f", ms)
		if part != "postgres" && part != stage.S3 {
			total += ms
		}
	}
	line("CPU ms a segment: without Postgres and S3", "%.2f%s", total, map[bool]string{true: " (S3 is in it)"}[name == "embedded"])
	line("CPU ms a segment: bare loop with its store", "%.2f", storing.Seconds()*1000/float64(n))
	line("CPU ms a segment: engine and client", "%.2f", each(mine))
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		if d := counts[key] - count[key]; d > 0 && (strings.HasPrefix(key, "voicemill_database_") || strings.HasPrefix(key, "voicemill_bucket_")) {
			line(strings.TrimPrefix(key, "voicemill_")+", a segment, a chapter", "%.3f, %.1f", d/float64(segments), d/float64(chapters))
		}
	}
	for _, part := range slices.Sorted(maps.Keys(s.roots)) {
		if part != "postgres" {
			line("memory at the peak, MB: "+part, "%.0f", float64(testkit.PeakMemory(t, s.roots[part]))/1e6)
		}
	}
	if n > fewSegments {
		s.countSyncs(ctx, t, line)
	}
	t.Logf("%s%s", name, b.String())
}

// countSyncs speaks another book for the syncs to disk: to count them takes time.
func (s site) countSyncs(ctx context.Context, t *testing.T, line func(what, format string, args ...any)) {
	t.Helper()
	for _, part := range slices.Sorted(maps.Keys(s.roots)) {
		var servers, others []int
		for _, p := range proctree.Below(s.roots[part]) {
			if p.Name == "postgres" {
				servers = append(servers, p.PID)
			} else {
				others = append(others, p.PID)
			}
		}
		for what, pids := range map[string][]int{part: others, "postgres": servers} {
			if len(pids) == 0 || part == "postgres" && what == part && len(servers) == 0 {
				continue
			}
			var doc jobdoc.Document
			n, ok := syncs(t, pids, func() { //nolint:contextcheck // strace ends with what it looks at
				doc, _ = speakBook(ctx, t, s, "syncs-"+part+"-"+what, "the syncs of "+part+" "+what, syncSegments)
			})
			if ok && n > 0 {
				line("syncs to disk a segment: "+what, "%.2f", float64(n)/float64(doc.Progress.Segments.Total))
			}
		}
	}
}
