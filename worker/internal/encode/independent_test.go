package encode_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

// mutagen reads files with Python's library of that name, which knows nothing of
// ffmpeg, and says what it found as JSON.
const mutagen = `
import json, sys
from mutagen.mp4 import MP4
from mutagen.mp3 import MP3
from mutagen.flac import FLAC
from mutagen.oggopus import OggOpus
import base64
from mutagen.flac import Picture

def free(t, name):
    return str(t["----:com.apple.iTunes:" + name][0], "utf-8") if "----:com.apple.iTunes:" + name in t else ""

def mp4(f):
    t = f.tags
    return {"title": t["\xa9nam"][0], "album": t["\xa9alb"][0], "author": t["\xa9ART"][0], "narrator": t["\xa9wrt"][0], "year": t["\xa9day"][0],
        "publisher": free(t, "PUBLISHER"), "series": free(t, "SERIES"),
        "comment": t["\xa9cmt"][0], "description": t["desc"][0], "cover": len(t["covr"][0]), "chapters": [c.start for c in f.chapters or []]}

def mp3(f):
    t = f.tags
    chapters = sorted((c.start_time, c.end_time, c.sub_frames["TIT2"].text[0]) for c in t.getall("CHAP"))
    return {"title": str(t["TIT2"]), "album": str(t["TALB"]), "author": str(t["TPE1"]), "narrator": str(t["TCOM"]), "year": str(t["TDRC"]),
        "publisher": str(t["TPUB"]), "series": str(t["TXXX:series"]),
        "comment": str(t["TXXX:comment"]), "description": str(t["TXXX:description"]), "language": str(t["TLAN"]), "version": list(t.version),
        "cover": len(t.getall("APIC")[0].data), "front": t.getall("APIC")[0].type == 3,
        "chapters": [c[0] / 1000 for c in chapters], "listed": sorted(t.getall("CTOC")[0].child_element_ids) if chapters else []}

def vorbis(f, pictures):
    one = lambda name: f[name][0]
    [text] = f["description"]
    description, comment = text.split("\n\n")
    return {"title": one("title"), "album": one("album"), "author": one("artist"), "narrator": one("composer"), "year": one("date"), "comment": comment, "publisher": one("publisher"), "series": one("series"),
        "description": description, "language": one("language"), "cover": len(pictures[0].data), "front": pictures[0].type == 3,
        "chapters": [sum(float(x) * y for x, y in zip(one(k).split(":"), (3600, 60, 1))) for k in ("chapter001", "chapter002") if k in f]}

said = {}
for path in sys.argv[1:]:
    if path.endswith((".m4a", ".m4b")): f = MP4(path); d = mp4(f)
    elif path.endswith(".mp3"): f = MP3(path); d = mp3(f)
    elif path.endswith(".flac"): f = FLAC(path); d = vorbis(f, f.pictures)
    else: f = OggOpus(path); d = vorbis(f, [Picture(base64.b64decode(p)) for p in f["metadata_block_picture"]])
    d["seconds"] = f.info.length
    said[path.rpartition("/")[2]] = d
print(json.dumps(said))
`

// What readers say that share no code with what wrote the files.
func TestReadersThatAreNotFFmpegAgree(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: job.Formats(), Metadata: &job.Metadata{
		Narrator: "N. Arrator", Series: "S", SeriesIndex: 2, Year: 1860, Description: "What it is about.",
	}}, 24000, 2.1, 3.3)
	b.exec(t, `update jobs set about = '{"publisher": "Some House", "year": 1700, "series": "Another", "series_index": 9}' where id = $1`, id)
	picture := noise(t, job.MediaJPEG, 300)
	b.pictured(t, id, job.MediaJPEG, picture)
	b.encode(t, id, 1, 2, 0)
	dir, sums := b.files(t, id)
	delete(sums, "cover.jpg")
	var paths []string
	for name := range sums {
		paths = append(paths, filepath.Join(dir, name))
	}
	// The system's: its package manager has installed the library, and another may come first in PATH.
	raw, err := exec.CommandContext(t.Context(), "/usr/bin/python3", append([]string{"-c", mutagen}, paths...)...).CombinedOutput()
	require.NoError(t, err, "%s", raw)
	var said map[string]struct {
		Title, Album, Author, Narrator, Year, Comment, Description, Language, Publisher, Series string

		Cover    int
		Front    bool
		Version  []int
		Chapters []float64
		Listed   []string
		Seconds  float64
	}
	require.NoError(t, json.Unmarshal(raw, &said), "%s", raw)
	require.Len(t, said, 2*4+3)
	for name, got := range said {
		book := strings.HasPrefix(name, "book.")
		require.Equal(t, "The Mill", got.Album, name)
		require.Equal(t, book, got.Title == "The Mill", name)
		require.Equal(t, []string{"A. Writer", "N. Arrator", "1860", "What it is about."}, []string{got.Author, got.Narrator, got.Year, got.Description}, name)
		if name != "chapter-001.m4a" && name != "chapter-002.m4a" { // ffmpeg writes neither there
			require.Equal(t, []string{"Some House", "S"}, []string{got.Publisher, got.Series}, name)
		}
		require.Contains(t, got.Comment, "synthetic voice", name)
		require.Equal(t, len(picture), got.Cover, name)
		mp4 := strings.HasPrefix(filepath.Ext(name), ".m4")
		if !mp4 { // MP4 says it of the stream and has no kinds of pictures
			require.Equal(t, "eng", got.Language, name)
			require.True(t, got.Front, name)
		}
		if strings.HasSuffix(name, ".mp3") {
			require.Equal(t, []int{2, 4, 0}, got.Version, name)
		}
		want := map[string]float64{"chapter-001": 2.1, "chapter-002": 3.3, "book": 5.4}[strings.TrimSuffix(name, filepath.Ext(name))]
		require.InDelta(t, want, got.Seconds, 0.1, name)
		if !book {
			require.Empty(t, got.Chapters, name)
			continue
		}
		require.Len(t, got.Chapters, 2, name)
		at := clicks(t, filepath.Join(dir, name))
		require.InDelta(t, at[1]-click, got.Chapters[1], 0.001, name)
		if strings.HasSuffix(name, ".mp3") {
			require.Len(t, got.Listed, 2, name)
		}
	}
	for name := range sums {
		if !strings.HasPrefix(filepath.Ext(name), ".m4") {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "AtomicParsley", filepath.Join(dir, name), "-t").CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		for _, want := range []string{`"©alb" contains: The Mill`, `"©ART" contains: A. Writer`, `"©wrt" contains: N. Arrator`, `"©day" contains: 1860`, `"covr" contains: 1 piece of artwork`} {
			require.Contains(t, string(out), want, name)
		}
	}
}
