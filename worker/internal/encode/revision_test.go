package encode_test

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/encode"
	"github.com/voicemill/voicemill/worker/internal/store"
)

var digest = regexp.MustCompile("SHA256:[0-9a-f]{64}")

// packets returns a digest of each packet of a file's sound.
func packets(t *testing.T, path string) []string {
	t.Helper()
	raw, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "a:0", "-show_packets", "-show_data_hash", "sha256",
		"-show_entries", "packet=data_hash", "-of", "csv=p=0", path).Output()
	require.NoError(t, err)
	return digest.FindAllString(string(raw), -1) // what the file says of some of them stands between
}

// A chapter that is joined anew, because a sentence of it was spoken anew, has its own
// files and the book's made anew, and nothing else.
func TestARevisionLeavesTheOtherChaptersAsTheyAre(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: []string{job.FormatM4B, job.FormatMP3}}, 22050, 1.1, 1.2, 1.3)
	b.encode(t, id, 1, 2, 3, 0)
	keys := func() map[string]string {
		rows, err := b.db.Query(t.Context(), `select name, object_key from artifacts where job_id = $1`, id)
		require.NoError(t, err)
		defer rows.Close()
		all := map[string]string{}
		for rows.Next() {
			var name, key string
			require.NoError(t, rows.Scan(&name, &key))
			all[name] = key
		}
		require.NoError(t, rows.Err())
		return all
	}
	before, old := keys(), map[string][]string{}
	dir, _ := b.files(t, id)
	for name := range before {
		old[name] = packets(t, filepath.Join(dir, name))
	}

	b.join(t, id, 2, 22050, 1.6)
	b.exec(t, `update jobs set bound_at = null where id = $1`, id)
	b.exec(t, `delete from outbox where job_id = $1`, id)
	b.exec(t, `select advance_job($1)`, id)
	require.Equal(t, []string{"encode 2"}, b.due(t, id))
	b.encode(t, id, 2)
	require.Equal(t, []string{"encode 0"}, b.due(t, id))
	b.encode(t, id, 0)
	after := keys()
	require.Len(t, after, len(before))
	for name, key := range after {
		anew := strings.HasPrefix(name, "book.") || strings.HasPrefix(name, "chapter-002.")
		require.Equal(t, anew, key != before[name], name)
	}
	dir, _ = b.files(t, id)
	for book, chapter := range map[string]string{"book.m4b": ".m4a", "book.mp3": ".mp3"} {
		now, was := packets(t, filepath.Join(dir, book)), old[book]
		first, last := len(old["chapter-001"+chapter]), len(old["chapter-003"+chapter])
		require.Greater(t, len(now), len(was), book)
		require.Equal(t, was[:first], now[:first], "%s, chapter 1", book)
		require.Equal(t, was[len(was)-last:], now[len(now)-last:], "%s, chapter 3", book)
	}
}

// A manuscript that changed is another job: what its chapters have in common with those of
// the job before is copied, whoever made it.
func TestAChapterThatAnotherJobHasIsNotEncodedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := job.Output{Formats: []string{job.FormatM4B, job.FormatOpus}, Loudness: "ebu-r128"}
	first := b.joined(t, out, 22050, 1.1, 1.2, 1.3)
	b.encode(t, first, 1, 2, 3, 0)
	_, before := b.files(t, first)

	program, err := ffmpeg.Find(t.Context(), "ffmpeg")
	require.NoError(t, err)
	program.Path = "/bin/false" // the same program, but for that it makes nothing
	st, err := store.New(b.db, rand.Reader)
	require.NoError(t, err)
	copier := encode.New(encode.Deps{Program: program, Store: st, Blob: b.blob, Dir: t.TempDir(), Tell: func(bus.Settled) {}, Log: testkit.Log(t)})
	second := b.joined(t, out, 22050, 1.1, 1.6, 1.3)
	encodes := func(ordinal int) error {
		return copier.Encode(t.Context(), store.Due{JobID: second, Ordinal: ordinal, Encode: true, Attempt: 1})
	}
	require.NoError(t, encodes(1))
	require.Error(t, encodes(2), "it has other sound")
	require.NoError(t, encodes(3))
	b.encode(t, second, 2, 0)
	_, after := b.files(t, second)
	for name, sum := range after {
		require.Equal(t, strings.HasPrefix(name, "book.") || strings.HasPrefix(name, "chapter-002."), sum != before[name], name)
	}
	var reports int
	require.NoError(t, b.db.QueryRow(t.Context(), `select count(*) from artifacts where job_id = $1 and loudness is not null`, second).Scan(&reports))
	require.Equal(t, 6, reports)

	third := b.joined(t, out, 22050, 1.1, 1.2, 1.3)
	b.exec(t, `update jobs set title = 'Another' where id = $1`, third)
	require.Error(t, copier.Encode(t.Context(), store.Due{JobID: third, Ordinal: 1, Encode: true, Attempt: 1}), "it says something else of itself")
}

// A file that is there no more, or damaged, is no reason to fail; what was copied of it goes.
func TestAFileThatIsNotWholeIsNotCopied(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := job.Output{Formats: []string{job.FormatMP3}}
	for name, harm := range map[string]string{
		"gone":    `update artifacts set object_key = 'jobs/default/none', made_key = 'jobs/default/none' where job_id = $1`,
		"longer":  `update artifacts set (object_key, made_key) = (select object_key, object_key from chapters where job_id = $1) where job_id = $1`,
		"damaged": `update artifacts set sha256 = sha256('') where job_id = $1`,
	} {
		b.exec(t, `update artifacts set made_of = null`)
		first := b.joined(t, out, 22050, 1.1)
		b.encode(t, first, 1)
		_, want := b.files(t, first)
		b.exec(t, harm, first)
		next := b.joined(t, out, 22050, 1.1)
		b.encode(t, next, 1)
		_, got := b.files(t, next)
		require.Equal(t, want, got, name)
		var stored []string
		for info, err := range b.blob.List(t.Context(), fmt.Sprintf("jobs/default/%s/", next)) {
			require.NoError(t, err)
			if strings.HasSuffix(info.Key, ".mp3") {
				stored = append(stored, info.Key)
			}
		}
		require.Len(t, stored, 1, name)
	}
}

// A worker of before the migration puts another file into a row, here one that stands in
// for it, and says nothing of what that is made of.
func TestAFileOfAnOlderWorkerIsNotTakenForWhatWasThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := job.Output{Formats: []string{job.FormatMP3}}
	first := b.joined(t, out, 22050, 1.1)
	b.encode(t, first, 1)
	_, want := b.files(t, first)
	b.exec(t, `update artifacts set (object_key, bytes, sha256) = (select object_key, bytes, sha256 from chapters where job_id = $1) where job_id = $1`, first)
	second := b.joined(t, out, 22050, 1.1)
	b.encode(t, second, 1)
	_, got := b.files(t, second)
	require.Equal(t, want, got)
}
