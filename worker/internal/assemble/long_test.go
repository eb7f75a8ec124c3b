package assemble_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/encode"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// The chapters of a long book: all are the same, of a few sentences again and again.
const (
	longSentences = 16
	longSeconds   = 10  // of a sentence, its pause not counted
	longSegments  = 120 // of a chapter: twenty minutes
)

// TestALongBook joins a book of so many chapters of twenty minutes, and binds it. What
// encoding takes beside ffmpeg alone is measured on the first chapter; the others
// are copies of its file, since that is what all of them are. Beside the time on
// the clock stands the processor's, which other work on the machine changes less.
func TestALongBook(t *testing.T) {
	chapters, segments := 2, longSentences // a little one, so that this is not only run by hand
	if v := os.Getenv("VOICEMILL_LONG_CHAPTERS"); v != "" {
		var err error
		chapters, err = strconv.Atoi(v)
		require.NoError(t, err)
		segments = longSegments
	}
	b := newBench(t)
	coder := newCoder(t, b)
	book := plantest.Book{}
	for n := range chapters {
		c := plantest.Chapter{Title: fmt.Sprintf("Chapter %d", n+1)}
		for i := range segments {
			c.Segments = append(c.Segments, plantest.Segment{Text: fmt.Sprintf("Sentence %d.", i%longSentences), Seconds: longSeconds})
		}
		book.Chapters = append(book.Chapters, c)
	}
	p := plantest.Insert(t, b.db, book)
	exec1(t, b, `update jobs set spec = jsonb_set(spec, '{output,formats}', '["m4b"]') where id = $1`, p.ID)
	renderOnce(t, b, p)

	memory := watchMemory(t)
	begun := spent(t)
	for n := range chapters {
		b.do(t, p.ID, n+1)
	}
	joining := spent(t).since(begun)
	grown := memory()
	var hours float64
	require.NoError(t, b.db.QueryRow(t.Context(), `select sum(audio_samples::float8 / sample_rate) / 3600 from chapters where job_id = $1 and state = 'ready'`, p.ID).Scan(&hours))
	t.Logf("joined %.2f h in %s: %.0f times real time, %.0f by the processor; the process grew by %d MiB at most",
		hours, joining, hours*3600/joining.clock.Seconds(), hours*3600/joining.processor.Seconds(), grown>>20)
	require.InDelta(t, float64(chapters*segments*longSeconds)/3600, hours, hours*.06, "all of it is there")
	require.Less(t, grown, int64(64<<20))

	ours, alone := againstFFmpeg(t, b, coder, p.ID)
	t.Logf("a chapter of %.2f h as M4A: %s; ffmpeg alone on a file: %s; ratio %.3f, by the processor %.3f", hours/float64(chapters), ours, alone,
		ours.clock.Seconds()/alone.clock.Seconds(), ours.processor.Seconds()/alone.processor.Seconds())

	copyChapters(t, b, p.ID, chapters)
	memory, begun = watchMemory(t), spent(t)
	require.NoError(t, coder.Encode(t.Context(), store.Due{JobID: p.ID, Encode: true, Attempt: 1}))
	grown = memory()
	var children, own syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children))
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	t.Logf("the M4B of the book: %s after its last chapter; the process grew by %d MiB at most (it had %d MiB at most in all, the bucket's server among it, and the largest ffmpeg %d MiB)",
		spent(t).since(begun), grown>>20, own.Maxrss>>10, children.Maxrss>>10)
	require.Less(t, grown, int64(64<<20))
	var files int
	require.NoError(t, b.db.QueryRow(t.Context(), `select count(*) from artifacts where job_id = $1 and name = 'book.m4b'`, p.ID).Scan(&files))
	require.Equal(t, 1, files)
}

// cost is what something took: on the clock, and of the processor by this process and
// those that it has started and waited for.
type cost struct{ clock, processor time.Duration }

var began = time.Now()

func spent(t *testing.T) cost {
	t.Helper()
	c := cost{clock: time.Since(began)}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(who, &u))
		c.processor += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return c
}

func (c cost) since(then cost) cost { return cost{c.clock - then.clock, c.processor - then.processor} }

func (c cost) String() string {
	return fmt.Sprintf("%.1f s (processor %.1f s)", c.clock.Seconds(), c.processor.Seconds())
}

func newCoder(t *testing.T, b *bench) *encode.Encoder {
	t.Helper()
	program, err := ffmpeg.Find(t.Context(), "ffmpeg")
	require.NoError(t, err)
	return encode.New(encode.Deps{Program: program, Store: b.store, Blob: b.blob, Dir: t.TempDir(), Tell: func(bus.Settled) {}, Log: testkit.Log(t)})
}

func exec1(t *testing.T, b *bench, sql string, args ...any) {
	t.Helper()
	_, err := b.db.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// renderOnce settles all segments of p, whose sentences are stored once each.
func renderOnce(t *testing.T, b *bench, p plantest.Plan) {
	t.Helper()
	stored := map[string]*store.Rendition{}
	for {
		bundles, err := plantest.Release(t.Context(), b.db, p)
		require.NoError(t, err)
		if len(bundles) == 0 {
			return
		}
		b.settle(t, bundles, func(g bus.Segment) *store.Rendition {
			if stored[g.RenditionKey] == nil {
				stored[g.RenditionKey] = b.keep(t, p.Tenant, g, rate, sweep(len(stored)))
			}
			return stored[g.RenditionKey]
		})
	}
}

// sweep is a sound that an encoder has some work with.
func sweep(n int) []int16 {
	s := make([]int16, longSeconds*rate)
	for i := range s {
		at := float64(i) / rate
		s[i] = int16(6000 * (1 + math.Sin(2*math.Pi*3*at)) * math.Sin(2*math.Pi*(120+10*float64(n)+60*math.Sin(at))*at))
	}
	return s
}

// watchMemory returns by how many bytes this process has grown at most since.
func watchMemory(t *testing.T) func() int64 {
	t.Helper()
	before, quit, done := resident(t), make(chan struct{}), make(chan struct{})
	var most atomic.Int64
	most.Store(before)
	go func() { // ends with quit
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), resident(t)))
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 { close(quit); <-done; return most.Load() - before }
}

func resident(t *testing.T) int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Error(err)
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return pages * int64(os.Getpagesize())
}

// againstFFmpeg encodes chapter 1, and has ffmpeg alone make the same of a file on this disk.
func againstFFmpeg(t *testing.T, b *bench, coder *encode.Encoder, id job.ID) (ours, alone cost) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chapter.wav")
	var key string
	require.NoError(t, b.db.QueryRow(t.Context(), `select object_key from chapters where job_id = $1 and ordinal = 1`, id).Scan(&key))
	r, _, err := b.blob.Get(t.Context(), key, blob.GetOptions{})
	require.NoError(t, err)
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(f, r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, f.Close())
	begun := spent(t)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-y", "-threads", "1", "-i", path, "-ar", "44100", "-c:a", "aac", "-b:a", "64k", path+".m4a").CombinedOutput()
	require.NoError(t, err, "%s", out)
	alone, begun = spent(t).since(begun), spent(t)
	require.NoError(t, coder.Encode(t.Context(), store.Due{JobID: id, Ordinal: 1, Encode: true, Attempt: 1}))
	return spent(t).since(begun), alone
}

// copyChapters gives the other chapters the files of the first.
func copyChapters(t *testing.T, b *bench, id job.ID, chapters int) {
	t.Helper()
	raw := b.read(t, id, "chapter-001.m4a")
	for n := 2; n <= chapters; n++ {
		name := fmt.Sprintf("chapter-%03d.m4a", n)
		key := fmt.Sprintf("jobs/default/%s/%s/%s", id, rand.Text(), name)
		_, err := b.blob.Put(t.Context(), key, bytes.NewReader(raw), int64(len(raw)), blob.PutOptions{})
		require.NoError(t, err)
		exec1(t, b, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds, coded_samples)
			select job_id, $2, media_type, $3, bytes, sha256, audio_seconds, coded_samples from artifacts where job_id = $1 and name = 'chapter-001.m4a'`, id, name, key)
	}
	exec1(t, b, `update chapters set encoded_at = now() where job_id = $1 and ordinal > 1`, id)
	exec1(t, b, `select advance_job($1)`, id)
}
