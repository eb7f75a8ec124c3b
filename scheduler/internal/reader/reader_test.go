package reader_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/reader/readertest"
)

func TestMain(m *testing.M) {
	if reader.IsChild(os.Args) {
		os.Exit(reader.Serve(os.Stdin, os.Stdout))
	}
	testkit.Main(m)
}

func newReader(t *testing.T, change func(*reader.Config)) *reader.Reader {
	t.Helper()
	cfg := reader.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	require.NoError(t, cfg.Validate())
	r, err := reader.New(cfg)
	require.NoError(t, err)
	return r
}

// read reads a whole document and returns its parts.
func read(ctx context.Context, r *reader.Reader, source io.ReaderAt, size int, media string) (*reader.Document, []reader.Part, error) {
	d, err := r.Open(ctx, source, int64(size), media, reader.Options{MaxSegmentSeconds: 18, Speed: 1})
	if err != nil {
		return nil, nil, err
	}
	var parts []reader.Part
	for p, err := range d.Parts(ctx) {
		if err != nil {
			return d, parts, errors.Join(err, d.Close())
		}
		parts = append(parts, *p)
	}
	return d, parts, d.Close()
}

// What comes out of a child is what the package makes of the same document.
func TestAChildReadsWhatTheParserReads(t *testing.T) {
	t.Parallel()
	text := "---\ntitle: T\nseries: S\nseries_index: 2\ndate: 1818-01-01\npublisher: P\ndescription: D\n---\n\n# One\n\n" + strings.Repeat("A sentence of some words. Another one, *stressed*.\n\n", 600) + "# Two\n\nThe end.\n"
	d, parts, err := read(t.Context(), newReader(t, nil), strings.NewReader(text), len(text), job.MediaMarkdown)
	require.NoError(t, err)
	doc, err := manuscript.Open(t.Context(), strings.NewReader(text), int64(len(text)), job.MediaMarkdown, manuscript.Options{MaxSegmentSeconds: 18})
	require.NoError(t, err)
	require.Equal(t, doc.About, d.About)
	require.Equal(t, job.Metadata{Title: "T", Series: "S", SeriesIndex: 2, Year: 1818, Publisher: "P", Description: "D"}, d.About)
	require.Equal(t, doc.Language, d.Language)
	next, largest := 0, 0
	for ch, err := range doc.Chapters() {
		require.NoError(t, err)
		var segments []manuscript.Segment
		for more := true; more; next++ {
			p := parts[next]
			require.Equal(t, ch.Title, p.Title)
			require.Equal(t, ch.Matter, p.Matter)
			segments, more, largest = append(segments, p.Segments...), p.More, max(largest, len(p.Segments))
		}
		require.Equal(t, ch.Segments, segments)
	}
	require.Len(t, parts, next)
	require.Equal(t, 256, largest, "a long chapter comes in parts")
}

func TestAFaultOfTheDocumentIsToldInItsWords(t *testing.T) {
	t.Parallel()
	for media, data := range map[string]string{job.MediaEPUB: "no zip", job.MediaText: " \n ", "image/png": "x"} {
		_, _, err := read(t.Context(), newReader(t, nil), strings.NewReader(data), len(data), media)
		require.Equal(t, job.Invalid, job.KindOf(err), "%s: %v", media, err)
		require.NotEmpty(t, job.PublicOf(err, ""))
	}
}

// Whatever comes, it is read or refused, and this process stays small.
func TestNoDocumentCostsMoreThanItMay(t *testing.T) {
	r := newReader(t, func(c *reader.Config) { c.CPU = time.Second })
	for _, h := range hostileDocuments(t) {
		t.Run(h.name, func(t *testing.T) {
			data := h.data()
			debug.FreeOSMemory()
			require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // the peak is the present
			before := testkit.PeakMemory(t, os.Getpid())
			d, err := r.Open(t.Context(), bytes.NewReader(data), int64(len(data)), h.media, reader.Options{MaxSegmentSeconds: 18, Speed: 1})
			n := 0
			if err == nil {
				for p, perr := range d.Parts(t.Context()) {
					if err = perr; err == nil {
						n += len(p.Segments)
					}
				}
				require.NoError(t, d.Close())
			}
			grown := testkit.PeakMemory(t, os.Getpid()) - before
			t.Logf("%d bytes: %d segments, %d MB here, %v", len(data), n, grown>>20, err)
			require.Less(t, grown, 64<<20)
			if err != nil {
				require.Contains(t, []job.Kind{job.Invalid, job.TooLarge}, job.KindOf(err), "%v", err)
				require.NotEmpty(t, job.PublicOf(err, ""))
			}
		})
	}
}

func TestADocumentThatTakesTooMuchMemoryIsRefused(t *testing.T) {
	t.Parallel()
	r := newReader(t, func(c *reader.Config) { c.MemoryBytes = 128 << 20 })
	data := "|" + strings.Repeat("a|", 5600) + "\n|" + strings.Repeat("-|", 5600) + "\n" + strings.Repeat("b\n", 5600)
	_, _, err := read(t.Context(), r, strings.NewReader(data), len(data), job.MediaMarkdown)
	require.Equal(t, job.TooLarge, job.KindOf(err), "%v", err)
	require.Contains(t, job.PublicOf(err, ""), "128 MiB of memory")
}

func TestADocumentThatBecomesTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	r := newReader(t, func(c *reader.Config) { c.OutputBytes = 1 << 20 })
	data := strings.Repeat("A sentence of some words. ", 100_000)
	_, _, err := read(t.Context(), r, strings.NewReader(data), len(data), job.MediaText)
	require.Equal(t, job.TooLarge, job.KindOf(err), "%v", err)
	require.Contains(t, job.PublicOf(err, ""), "1 MiB of text")
}

// stuck is an upload whose bucket does not answer.
type stuck struct {
	asked chan struct{}
	end   <-chan struct{}
}

func (s stuck) ReadAt([]byte, int64) (int, error) {
	close(s.asked)
	<-s.end
	return 0, errors.New("the bucket is away")
}

func TestAStopEndsTheChildAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := stuck{asked: make(chan struct{}), end: ctx.Done()}
	ended := make(chan error, 1)
	go func() {
		_, _, err := read(ctx, newReader(t, nil), s, 100, job.MediaEPUB)
		ended <- err
	}()
	<-s.asked
	cancel()
	err := <-ended
	require.Equal(t, job.Unavailable, job.KindOf(err), "%v", err)
}

// One that is killed from outside is no fault of the document.
func TestAChildThatIsKilledIsOurFault(t *testing.T) { // not beside others: it kills what it finds
	data := strings.Repeat("A sentence of some words. ", 200_000)
	d, err := newReader(t, nil).Open(t.Context(), strings.NewReader(data), int64(len(data)), job.MediaText, reader.Options{Speed: 1})
	require.NoError(t, err)
	children := readertest.Children(t)
	killed := false
	for _, perr := range d.Parts(t.Context()) {
		if err = perr; err == nil && !killed {
			killed = true
			for _, pid := range children {
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}
	}
	require.NoError(t, d.Close())
	require.Equal(t, job.Internal, job.KindOf(err), "%v", err)
	require.ErrorIs(t, err, reader.ErrKilled)
}
