package cli

import (
	"strings"
	"testing"

	"github.com/voicemill/voicemill/api/jobdoc"
)

func TestFilesAreNamedAfterTheBook(t *testing.T) {
	t.Parallel()
	d := jobdoc.Document{Title: "../War: and?\x00 Peace...", Chapters: []jobdoc.Chapter{{Ordinal: 1, Title: "The/End."}, {Ordinal: 12}}}
	long := jobdoc.Document{Title: strings.Repeat("語", 300), Chapters: []jobdoc.Chapter{{Ordinal: 1, Title: strings.Repeat("章", 300)}}}
	for _, c := range []struct {
		d          jobdoc.Document
		name, want string
	}{
		{d, "chapter-001.mp3", "War and Peace - 01 - The End.mp3"},
		{d, "chapter-012.en.srt", "War and Peace - 12.en.srt"},
		{d, "book.m4b", "War and Peace.m4b"},
		{d, "manifest.json", "manifest.json"},
		{d, "chapter-099.mp3", "chapter-099.mp3"},
		{jobdoc.Document{Title: "..."}, "book.m4b", "book.m4b"},
		{long, "chapter-001.mp3", strings.Repeat("語", 33) + " - 01 - " + strings.Repeat("章", 33) + ".mp3"},
	} {
		if got := titled(c.d, c.name); got != c.want {
			t.Errorf("%s is called %q; want %q", c.name, got, c.want)
		}
	}
}
