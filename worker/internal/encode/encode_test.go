package encode_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/encode"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const click = 0.5 // seconds into each chapter

// bench is an encoder over real parts.
type bench struct {
	db    *pg.Pool
	blob  *blob.Store
	coder *encode.Encoder
	told  int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{db: testkit.Postgres(t), blob: testkit.S3(t)}
	b.coder = b.over(t, b.blob)
	return b
}

// over returns an encoder of the same jobs over another bucket.
func (b *bench) over(t *testing.T, bucket encode.Blob) *encode.Encoder {
	t.Helper()
	st, err := store.New(b.db, rand.Reader)
	require.NoError(t, err)
	program, err := ffmpeg.Find(t.Context(), "ffmpeg")
	require.NoError(t, err)
	_, lacking := encode.Formats(program)
	require.Empty(t, lacking)
	return encode.New(encode.Deps{Program: program, Store: st, Blob: bucket, Dir: t.TempDir(), Tell: func(bus.Settled) { b.told++ }, Log: testkit.Log(t)})
}

// joined inserts a job whose chapters are joined: each of the seconds given, with a click.
func (b *bench) joined(t *testing.T, out job.Output, rate int, seconds ...float64) job.ID {
	t.Helper()
	book := plantest.Book{}
	for i := range seconds {
		book.Chapters = append(book.Chapters, plantest.Sentences(fmt.Sprintf("Part %d; x=y", i+1), "a"))
	}
	p := plantest.Insert(t, b.db, book)
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	b.exec(t, `update jobs set spec = jsonb_set(spec, '{output}', $2), title = 'The Mill', author = 'A. Writer', state = 'assembling',
		segments_done = segments_total, chapters_ready = chapters_total where id = $1`, p.ID, raw)
	for i, s := range seconds {
		b.join(t, p.ID, i+1, rate, s)
	}
	b.exec(t, `select advance_job($1)`, p.ID)
	return p.ID
}

func (b *bench) join(t *testing.T, id job.ID, ordinal, rate int, seconds float64) {
	t.Helper()
	samples := make([]int16, int(seconds*float64(rate)))
	for i := range samples {
		samples[i] = int16(300 * math.Sin(float64(i*ordinal)/30))
	}
	at := int(click * float64(rate))
	copy(samples[at-1:], []int16{12_000, 30_000, 12_000})
	data := wav.Encode(rate, samples)
	sum := sha256.Sum256(data)
	key := fmt.Sprintf("jobs/default/%s/%s/chapter-%03d.wav", id, rand.Text(), ordinal)
	_, err := b.blob.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), blob.PutOptions{})
	require.NoError(t, err)
	b.exec(t, `update chapters set state = 'ready', segments_done = segments_total, proof_digest = plan_digest, sample_rate = $3, audio_samples = $4,
		artifact = format('chapter-%s.wav', lpad(ordinal::text, 3, '0')), object_key = $5, bytes = $6, sha256 = $7, ready_at = now(), encoded_at = null
		where job_id = $1 and ordinal = $2`, id, ordinal, rate, len(samples), key, len(data), sum[:])
}

func (b *bench) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.db.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// due lists what is due: the kind and the ordinal.
func (b *bench) due(t *testing.T, id job.ID) (due []string) {
	t.Helper()
	require.NoError(t, b.db.QueryRow(t.Context(), `select coalesce(array_agg(kind || ' ' || ordinal order by kind, ordinal), '{}') from outbox where job_id = $1`, id).Scan(&due))
	return due
}

func (b *bench) encode(t *testing.T, id job.ID, ordinals ...int) {
	t.Helper()
	for _, n := range ordinals {
		require.NoError(t, b.coder.Encode(t.Context(), store.Due{JobID: id, Ordinal: n, Encode: true, Attempt: 1}))
	}
}

// files brings the artifacts of a job into a folder and returns their digests.
func (b *bench) files(t *testing.T, id job.ID) (dir string, sums map[string]string) {
	t.Helper()
	dir, sums = t.TempDir(), map[string]string{}
	rows, err := b.db.Query(t.Context(), `select name, object_key, encode(sha256, 'hex'), bytes from artifacts where job_id = $1`, id)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name, key, sum string
		var size int
		require.NoError(t, rows.Scan(&name, &key, &sum, &size))
		r, _, err := b.blob.Get(t.Context(), key, blob.GetOptions{})
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		got := sha256.Sum256(data)
		require.Equal(t, sum, hex.EncodeToString(got[:]))
		require.Len(t, data, size)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		sums[name] = sum
	}
	require.NoError(t, rows.Err())
	return dir, sums
}

// probed is what ffprobe says of a file.
type probed struct {
	Chapters []struct {
		Start string            `json:"start_time"`
		Tags  map[string]string `json:"tags"`
	} `json:"chapters"`
	Format struct {
		Duration string            `json:"duration"`
		Tags     map[string]string `json:"tags"`
	} `json:"format"`
}

func probe(t *testing.T, path string) (p probed) {
	t.Helper()
	raw, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_chapters", "-show_format", "-of", "json", path).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &p))
	return p
}

func seconds(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}

// clicks decodes a file and returns the seconds at which it clicks.
func clicks(t *testing.T, path string) (at []float64) {
	t.Helper()
	const rate = 44_100
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", strconv.Itoa(rate), "pipe:1").Output()
	require.NoError(t, err)
	samples := make([]int16, len(raw)/2)
	require.NoError(t, binary.Read(bytes.NewReader(raw), binary.LittleEndian, samples))
	for i := 0; i < len(samples); i++ {
		if samples[i] < 4000 {
			continue
		}
		window := samples[i:min(i+rate/10, len(samples))]
		at = append(at, float64(i+slices.Index(window, slices.Max(window)))/rate)
		i += len(window)
	}
	return at
}

func TestEveryFormatSaysWhereItsChaptersAre(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: job.Formats(), Metadata: &job.Metadata{
		Narrator: "N", Series: "S", SeriesIndex: 2, Year: 1860, Description: "Two\nlines; a=b #1 \\ c\\",
	}}, 24000, 2.1, 3.3, 1.7)
	require.Equal(t, []string{"encode 1", "encode 2", "encode 3"}, b.due(t, id))
	b.encode(t, id, 2, 1, 3)
	require.Equal(t, []string{"encode 0"}, b.due(t, id))
	b.encode(t, id, 0)
	require.Equal(t, []string{"finish 0"}, b.due(t, id))
	require.Equal(t, 4, b.told)
	dir, sums := b.files(t, id)
	require.Len(t, sums, 3*4+3)
	for _, name := range []string{"book.m4b", "book.mp3", "book.opus"} {
		path := filepath.Join(dir, name)
		p, at := probe(t, path), clicks(t, path)
		require.Len(t, p.Chapters, 3, name)
		require.Len(t, at, 3, name)
		for i, c := range p.Chapters {
			require.Equal(t, fmt.Sprintf("Part %d; x=y", i+1), c.Tags["title"], name)
			if i > 0 { // the first begins with the file
				require.InDelta(t, seconds(t, c.Start)+click, at[i], 0.001, "%s, chapter %d", name, i+1)
			}
		}
		if name == "book.opus" { // which says it of the stream, in names of its own
			continue
		}
		for key, want := range map[string]string{
			"title": "The Mill", "album": "The Mill", "artist": "A. Writer", "album_artist": "A. Writer", "composer": "N", "date": "1860", "genre": "Audiobook",
			"comment": "Spoken by a synthetic voice, made with voicemill.", "description": "Two\nlines; a=b #1 \\ c", "grouping": "S #2",
		} {
			require.Equal(t, want, p.Format.Tags[key], "%s: %s", name, key)
		}
	}
	for name, want := range map[string]float64{"chapter-001": 2.1, "chapter-002": 3.3, "chapter-003": 1.7} {
		for _, extension := range []string{"m4a", "mp3", "opus", "flac"} {
			path := filepath.Join(dir, name+"."+extension)
			at := clicks(t, path)
			require.Len(t, at, 1, path)
			require.InDelta(t, click, at[0], 0.001, path)
			require.InDelta(t, want, seconds(t, probe(t, path).Format.Duration), 0.06, path)
		}
	}
}

// A chapter may be a few samples longer than its packets, which ffmpeg's encoder of
// AAC loses by itself.
func TestAFewSamplesInTheLastPacketAreNotLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const rate, packets = 22050, 43
	lengths := []float64{}
	for _, over := range []int{0, 1, 2, 20, 30, 511} { // at 44.1 kHz two for each
		lengths = append(lengths, (float64(packets*512+over)+.5)/rate)
	}
	id := b.joined(t, job.Output{Formats: []string{job.FormatM4B, job.FormatMP3}}, rate, lengths...)
	b.encode(t, id, 1, 2, 3, 4, 5, 6, 0)
	require.Equal(t, []string{"finish 0"}, b.due(t, id))
	for ordinal, want := range map[int]int{1: 1 + packets, 2: 2 + packets, 6: 2 + packets} {
		var coded int
		require.NoError(t, b.db.QueryRow(t.Context(), `select coded_samples from artifacts where job_id = $1 and name = $2`, id, fmt.Sprintf("chapter-%03d.m4a", ordinal)).Scan(&coded))
		require.Equal(t, want*1024, coded, "chapter %d", ordinal)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: job.Formats()}, 22050, 1.2, 1.4)
	b.encode(t, id, 1, 2, 0)
	_, before := b.files(t, id)
	b.exec(t, `update chapters set encoded_at = null where job_id = $1`, id)
	b.exec(t, `update jobs set bound_at = null where id = $1`, id)
	b.exec(t, `update artifacts set made_of = null`) // so that they are made, not copied
	b.encode(t, id, 1, 2, 0)
	_, after := b.files(t, id)
	require.Equal(t, before, after)
	require.Len(t, after, 2*4+3)
}

func TestAChapterThatIsJoinedAnewIsEncodedAnewAndTheBookAfterIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: []string{job.FormatMP3}}, 22050, 1.1, 1.2)
	b.encode(t, id, 1, 0, 2) // the book is not due yet
	require.Equal(t, []string{"encode 0"}, b.due(t, id))
	b.join(t, id, 1, 22050, 1.5)
	b.exec(t, `select advance_job($1)`, id)
	b.encode(t, id, 0) // not of what there was
	require.Equal(t, []string{"encode 1"}, b.due(t, id))
	b.encode(t, id, 1, 1, 0, 0) // what comes twice is done once
	require.Equal(t, []string{"finish 0"}, b.due(t, id))
	dir, _ := b.files(t, id)
	p := probe(t, filepath.Join(dir, "book.mp3"))
	require.InDelta(t, 1.5, seconds(t, p.Chapters[1].Start), 0.1)
}

func TestADamagedFileIsNotEncoded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: []string{job.FormatMP3}}, 22050, 1.1)
	b.exec(t, `update chapters set sha256 = $2 where job_id = $1`, id, make([]byte, 32))
	err := b.coder.Encode(t.Context(), store.Due{JobID: id, Ordinal: 1, Encode: true, Attempt: 1})
	require.Equal(t, job.Internal, job.KindOf(err))
	require.Equal(t, "A stored file is damaged.", job.PublicOf(err, ""))
	_, sums := b.files(t, id)
	require.Empty(t, sums)
}

func TestWhatIsGoneIsNotMissed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.encode(t, "job_none", 1, 0)
	id := b.joined(t, job.Output{Formats: []string{job.FormatMP3}}, 22050, 1.1)
	b.exec(t, `update jobs set state = 'cancelled', finished_at = now() where id = $1`, id)
	b.encode(t, id, 1, 0)
	require.Empty(t, b.due(t, id))
}

// pictured gives a job a cover, as the scheduler does.
func (b *bench) pictured(t *testing.T, id job.ID, media string, raw []byte) {
	t.Helper()
	sum := sha256.Sum256(raw)
	name := "cover.jpg"
	if media == job.MediaPNG {
		name = "cover.png"
	}
	key := fmt.Sprintf("jobs/default/%s/%s/%s", id, rand.Text(), name)
	_, err := b.blob.Put(t.Context(), key, bytes.NewReader(raw), int64(len(raw)), blob.PutOptions{})
	require.NoError(t, err)
	b.exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, $2, $3, $4, $5, $6)`, id, name, media, key, len(raw), sum[:])
}

// noise is a picture of about the size that a cover may have, or a small one.
func noise(t *testing.T, media string, side int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, side, side))
	_, err := rand.Read(m.Pix)
	require.NoError(t, err)
	var buf bytes.Buffer
	if media == job.MediaPNG {
		require.NoError(t, png.Encode(&buf, m))
	} else {
		require.NoError(t, jpeg.Encode(&buf, m, nil))
	}
	require.Less(t, buf.Len(), job.MaxCoverBytes)
	return buf.Bytes()
}

// Every file carries the cover, byte by byte, and the sound is what it is without.
func TestEveryFileCarriesTheCover(t *testing.T) {
	t.Parallel()
	for media, side := range map[string]int{job.MediaJPEG: 40, job.MediaPNG: 2000} {
		b := newBench(t)
		id := b.joined(t, job.Output{Formats: job.Formats()}, 24000, 1.1, 1.2)
		picture := noise(t, media, side)
		b.pictured(t, id, media, picture)
		b.encode(t, id, 1, 2, 0)
		dir, sums := b.files(t, id)
		for name := range sums {
			if strings.HasPrefix(name, "cover.") {
				continue
			}
			path := filepath.Join(dir, name)
			got, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "image2pipe", "pipe:1").Output()
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(picture, got), "%s: %d bytes of %d", name, len(got), len(picture))
			require.NotEmpty(t, clicks(t, path), name)
		}
		at := clicks(t, filepath.Join(dir, "book.m4b"))
		require.InDelta(t, seconds(t, probe(t, filepath.Join(dir, "book.m4b")).Chapters[1].Start)+click, at[1], 0.001)
	}
}
