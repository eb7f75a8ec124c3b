package export_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

func artifacts(names ...string) (list []store.ExportArtifact) {
	for _, name := range names {
		list = append(list, store.ExportArtifact{Name: name, ObjectKey: "jobs/default/job_1/" + name, SHA256: make([]byte, 32)})
	}
	return list
}

func frankenstein(formats ...string) store.Export {
	return store.Export{
		JobID: "job_1", Language: "en", Output: job.Output{Formats: formats}, Metadata: job.Metadata{
			Title: "Frankenstein", Author: "Mary Shelley", Narrator: "narrator-en", Series: "Gothic", SeriesIndex: 2, Year: 1818, Publisher: "Lackington",
		},
	}
}

func chapters(titles ...string) (list []store.ExportChapter) {
	for i, title := range titles {
		list = append(list, store.ExportChapter{Ordinal: i + 1, Title: title, Seconds: 10.5})
	}
	return list
}

func paths(t *testing.T, e store.Export, files []store.ExportArtifact, chapters []store.ExportChapter) map[string]string {
	t.Helper()
	list, err := export.Layout(e, files, chapters)
	require.NoError(t, err)
	got := map[string]string{}
	for _, f := range list {
		got[f.Name] = f.Path
	}
	return got
}

func TestABookIsLaidOutAsAShelfTakesIt(t *testing.T) {
	t.Parallel()
	all := artifacts("book.epub", "book.m4b", "book.vtt", "chapter-001.m4a", "chapter-001.mp3", "chapter-001.vtt", "chapter-001.wav", "chapter-002.mp3", "chapter-002.wav", "cover.jpg", "manifest.json")
	two := chapters("Letter 1", "")
	const folder = "Mary Shelley/Gothic/Frankenstein/"
	require.Equal(t, map[string]string{
		"metadata.json": folder + "metadata.json", "manifest.json": folder + "manifest.json", "cover.jpg": folder + "cover.jpg", "book.epub": folder + "Frankenstein.epub",
		"chapter-001.mp3": folder + "001 - Letter 1.mp3", "chapter-001.vtt": folder + "001 - Letter 1.vtt", "chapter-002.mp3": folder + "002.mp3",
	}, paths(t, frankenstein("mp3"), all, two))
	require.Equal(t, map[string]string{
		"metadata.json": folder + "metadata.json", "manifest.json": folder + "manifest.json", "cover.jpg": folder + "cover.jpg", "book.epub": folder + "Frankenstein.epub",
		"book.m4b": folder + "Frankenstein.m4b", "book.vtt": folder + "Frankenstein.vtt",
	}, paths(t, frankenstein("m4b"), all, two), "no chapters beside it, which a shelf would take for another book")
	require.Len(t, paths(t, frankenstein(), all, two), 7, "WAV, subtitles of chapters, cover, read-along, manifest, metadata")
	short := store.Export{JobID: "job_1"}
	require.Equal(t, map[string]string{"metadata.json": "job_1/metadata.json", "chapter-001.wav": "job_1/001.wav"},
		paths(t, short, artifacts("chapter-001.wav"), chapters("")), "what has no title does not mix with others")
}

func TestTheShelfReadsItsMetadata(t *testing.T) {
	t.Parallel()
	list, err := export.Layout(frankenstein("mp3"), nil, chapters("Letter 1", ""))
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(list[0].Content), &got))
	require.Equal(t, []any{"Mary Shelley"}, got["authors"])
	require.Equal(t, []any{"narrator-en"}, got["narrators"])
	require.Equal(t, []any{"Gothic #2"}, got["series"])
	require.Equal(t, "1818", got["publishedYear"])
	require.Equal(t, "Lackington", got["publisher"])
	require.Equal(t, []any{
		map[string]any{"id": 0.0, "start": 0.0, "end": 10.5, "title": "Letter 1"},
		map[string]any{"id": 1.0, "start": 10.5, "end": 21.0, "title": "Chapter 2"},
	}, got["chapters"])
	require.Nil(t, got["isbn"])
}

func TestTwoFilesNeverGoToOnePlace(t *testing.T) {
	t.Parallel()
	for _, template := range []string{"{title}.{ext}", "{chapter_title}.{ext}", "{chapter_title}/{title}.{ext}", "{chapter_title}/{chapter_title}.{ext}"} {
		e := frankenstein("wav")
		e.Output.Path = template
		var names []string
		var titles []string
		for i := range 30 {
			names = append(names, fmt.Sprintf("chapter-%03d.wav", i+1))
			titles = append(titles, []string{"Same", "SAME", "same (2)", "metadata.json", "manifest.json", "../..", "Frankenstein.wav", ""}[i%8])
		}
		names = append(names, "manifest.json")
		got := paths(t, e, artifacts(names...), chapters(titles...))
		require.Len(t, got, 32)
		seen, folders := map[string]bool{}, map[string]bool{}
		for _, path := range got {
			low := strings.ToLower(path)
			require.False(t, seen[low], "%s: %s", template, path)
			seen[low] = true
			for i := range low {
				if low[i] == '/' {
					folders[low[:i]] = true
				}
			}
		}
		for folder := range folders {
			require.False(t, seen[folder], "%s: %s is a file and a folder", template, folder)
		}
		require.Equal(t, got, paths(t, e, artifacts(names...), chapters(titles...)), "the same job, the same places")
	}
}

func TestATemplateThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	e := frankenstein()
	e.Output.Path = "{titel}.{ext}" // of a version that knew it
	_, err := export.Layout(e, nil, nil)
	require.ErrorContains(t, err, "output.path has the field {titel}")
}
