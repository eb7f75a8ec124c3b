package job_test

import (
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

func book() job.PathValues {
	return job.PathValues{
		Author: "Mary Shelley", Narrator: "narrator-en", Series: "Gothic", SeriesIndex: 2.5, Title: "Frankenstein", Language: "en",
		Year: 1818, Chapter: 3, ChapterTitle: "Letter 3", Job: "job_1",
	}
}

func path(t *testing.T, text string) job.Path {
	t.Helper()
	p, err := job.ParsePath(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return p
}

func TestPathsAreMadeOfTheirValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		job.DefaultPath: "Mary Shelley/Gothic/Frankenstein/003 - Letter 3.mp3",
		"{title}.{ext}": "Frankenstein.mp3",
		"{series} {series_index:02}/{title} ({year}) [{language}]/{narrator}/{job}.{ext}": "Gothic 02.5/Frankenstein (1818) [en]/narrator-en/job_1.mp3",
		"fixed/{chapter}.{ext}": "fixed/3.mp3",
	} {
		if got := path(t, text).Chapter(book(), "mp3"); got != want {
			t.Errorf("%q makes %q; want %q", text, got, want)
		}
	}
}

func TestAFieldWithoutAValueLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := path(t, job.DefaultPath)
	v := book()
	v.Series, v.ChapterTitle = "", ""
	if got := p.Chapter(v, "wav"); got != "Mary Shelley/Frankenstein/003.wav" {
		t.Error(got)
	}
	v.SeriesIndex, v.Author, v.Chapter = 0, "", 1234
	if got := path(t, "{author} - {title}/{series} {series_index}/{chapter:03} {chapter_title}.{ext}").Chapter(v, "wav"); got != "Frankenstein/1234.wav" {
		t.Error(got)
	}
	if got := path(t, "{series}/{chapter_title}.{ext}").Chapter(v, "wav"); got != "chapter-1234.wav" {
		t.Error(got)
	}
}

func TestFilesOfTheBookStandBesideItsChapters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		job.DefaultPath: "Mary Shelley/Gothic/Frankenstein/metadata.json",
		"{author}/{chapter:02} {title}/{chapter_title}.{ext}": "Mary Shelley/metadata.json",
		"{title}.{ext}":   "metadata.json",
		"{chapter}.{ext}": "metadata.json",
	} {
		if got := path(t, text).Book(book(), "metadata.json"); got != want {
			t.Errorf("%q makes %q; want %q", text, got, want)
		}
	}
}

func TestBadTemplatesAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                                    "must end in .{ext}",
		"{title}":                             "must end in .{ext}",
		"/{title}.{ext}":                      "must not begin with a slash",
		"//{title}.{ext}":                     "must not begin with a slash",
		"a//{title}.{ext}":                    "an empty name",
		".{ext}":                              "an empty name",
		"a/.{ext}":                            "an empty name",
		"../{title}.{ext}":                    "begins with a dot",
		"a/../{title}.{ext}":                  "begins with a dot",
		"a/.hidden/{title}.{ext}":             "begins with a dot",
		"..\\{title}.{ext}":                   "begins with a dot",
		"a\\{title}.{ext}":                    "must not have '\\\\'",
		"C:/{title}.{ext}":                    "must not have ':'",
		"a\x00{title}.{ext}":                  "must not have",
		"a\n{title}.{ext}":                    "must not have",
		"a\u202e{title}.{ext}":                "must not have",
		"{titel}.{ext}":                       "{titel}, which is not known; known: author",
		"{}.{ext}":                            "{}, which is not known",
		"{../x}.{ext}":                        "brace without its other one",
		"{title.{ext}":                        "brace without its other one",
		"title}.{ext}":                        "brace without its other one",
		"{{title}}.{ext}":                     "which is not known",
		"{title:03}.{ext}":                    "a width for {title}",
		"{chapter:3}.{ext}":                   "it must be 01 to 09",
		"{chapter:099999999}.{ext}":           "it must be 01 to 09",
		"{chapter:00}.{ext}":                  "it must be 01 to 09",
		"{ext}/{title}.{ext}":                 "{ext} at its end only",
		"a/b/c/d/e/f/{title}.{ext}":           "at most 6 names",
		strings.Repeat("a", 512) + "/x.{ext}": "up to 512 bytes",
		"\xff.{ext}":                          "must be UTF-8",
	} {
		if _, err := job.ParsePath(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want %q", text, err, says)
		}
	}
}

// attacks are values that would lead elsewhere.
func attacks() []string {
	return []string{
		"..", "../..", "/etc/passwd", "..\\..\\x", "a/../../b", ".", "...", ". .", "\x00", "a\x00b", "\r\nx: y", "C:\\x", "\u202egpj.exe", "\ufeff", "\u2028",
		"con:", strings.Repeat("/..", 300), strings.Repeat("ä", 500), strings.Repeat(".", 500), "\xff\xfe", "%2e%2e%2f", "{title}", " - ", "-", "   ", "\u00a0", "~", "a\tb",
		"\u2024\u2024/", "．．／", strings.Repeat("a ", 300), strings.Repeat("x", 119) + ". ä",
	}
}

func TestNoValueLeadsOutOfTheFolder(t *testing.T) {
	t.Parallel()
	for _, text := range []string{job.DefaultPath, "{title}.{ext}", "{author}{series}{narrator}{language}/{chapter_title}{title}.{ext}", "x/{chapter_title}.{ext}"} {
		p := path(t, text)
		for _, a := range attacks() {
			v := job.PathValues{Author: a, Narrator: a, Series: a, Title: a, Language: a, ChapterTitle: a, Chapter: 1, SeriesIndex: math.MaxFloat64}
			safe(t, p.Chapter(v, "wav"))
			safe(t, p.Book(v, "manifest.json"))
			safe(t, p.Book(v, a))
		}
	}
}

// safe fails the test unless a path is what [job.Path] promises.
func safe(t *testing.T, path string) {
	t.Helper()
	if len(path) > 800 || !utf8.ValidString(path) {
		t.Errorf("%q has %d bytes, or is not UTF-8", path, len(path))
	}
	for name := range strings.SplitSeq(path, "/") {
		bad := strings.IndexFunc(name, func(r rune) bool {
			return unicode.IsControl(r) || strings.ContainsRune(`\:*?"<>|`, r) || unicode.In(r, unicode.Cf)
		})
		if name == "" || strings.Trim(name, " .") != name || bad >= 0 || len(name) > 130 {
			t.Errorf("%q has the name %q", path, name)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, a := range attacks() {
		f.Add(job.DefaultPath, a, a, 1)
		f.Add(a+"/{title}.{ext}", "Title", "Author", -1)
	}
	f.Add("{series} {series_index:09}/{title}{chapter:02}/{author}.{ext}", "x", "y", 1<<40)
	f.Fuzz(func(t *testing.T, text, title, author string, n int) {
		p, err := job.ParsePath(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("a refusal without a reason")
			}
			return
		}
		v := job.PathValues{Author: author, Title: title, ChapterTitle: title + author, Series: author, Chapter: n, SeriesIndex: float64(n) / 3, Year: n}
		safe(t, p.Chapter(v, "mp3"))
		safe(t, p.Book(v, title))
		if first, second := p.Chapter(v, "mp3"), p.Chapter(v, "mp3"); first != second {
			t.Errorf("the same values make two paths, %q and %q", first, second)
		}
	})
}
