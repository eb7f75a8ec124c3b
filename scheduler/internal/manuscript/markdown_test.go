package manuscript_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

func TestMarkdownSpeaksTheReadingText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"emphasis, links, code":           {"A *b* **c** [d](http://x) `e` ~~f~~ <http://g.example>.", []string{"A b c d e f http://g.example."}},
		"escapes and entities":            {`1\. \*no\* &amp; caf&eacute; \z`, []string{`1. *no* & café \z`}},
		"soft breaks join, hard ones too": {"one\ntwo  \nthree\\\nfour", []string{"one two three four"}},
		"lists and quotations":            {"- one\n- two\n\n  more\n\n> said\n> she\n\n1. first", []string{"one", "two", "more", "said she", "first"}},
		"headings":                        {"Title\n=====\n\ntext\n\n## Next ##", []string{"Title", "text", "Next"}},
		"tables":                          {"| a | b |\n|---|---|\n| c | d |", []string{"a, b", "c, d"}},
		"pictures are silent":             {"one ![alt](x.png) two", []string{"one two"}},
		"programs are silent":             {"one\n\n```go\nx := 1\n```\n\ntwo", []string{"one", "two"}},
		"other blocks are lines":          {"```\nfirst\nsecond\n```\n\n    third\n    fourth", []string{"first second", "third fourth"}},
		"notes stand where they stand":    {"one[^1] two.\n\n[^1]: The note.\n\nthree.", []string{"one two.", "The note.", "three."}},
		"definitions":                     {"Term\n: Meaning", []string{"Term", "Meaning"}},
		"HTML inside":                     {"one<br>two <ruby>漢<rt>かん</rt></ruby> <span hidden>no</span><!-- no -->\n\n<div>\n<p>three</p>\n\n*four*\n\n</div>\n\n<script>\nno()\n</script>\n\nfive", []string{"one two 漢", "three", "four", "five"}},
		"references are links":            {"see [this][1]\n\n[1]: http://x", []string{"see this"}},
		"rules are silent":                {"one\n\n***\n\ntwo", []string{"one", "two"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, []byte(c.text), manuscript.TypeMarkdown)
			if diff := cmp.Diff(c.want, texts(chapters)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFrontMatterDescribesTheDocument(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string // title, author, language, text
	}{
		"given":                  {"---\ntitle: \"The: Mill\"\nauthor: 'A'\nlang: de\ntags:\n  - x\n---\n\nHallo.", []string{"The: Mill", "A", "de", "Hallo."}},
		"absent":                 {"# One\n\nHallo.", []string{"One", "", "en", "One Hallo."}},
		"a rule, not a block":    {"---\n\nHallo.", []string{"", "", "en", "Hallo."}},
		"closed with full stops": {"---\r\ntitle: X\r\n...\r\nHallo.", []string{"X", "", "en", "Hallo."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, chapters := read(t, []byte(c.text), manuscript.TypeMarkdown)
			require.Equal(t, c.want, []string{doc.About.Title, doc.About.Author, doc.Language, strings.Join(texts(chapters), " ")})
		})
	}
}

func TestMarkdownHeadingsMakeChapters(t *testing.T) {
	t.Parallel()
	_, chapters := read(t, []byte("# Book\n\nx\n\n## One *two*\n\nx\n\n### a\n\nx\n\n## Notes\n\nx"), manuscript.TypeMarkdown)
	require.Equal(t, "body: Book|body: One two|back: Notes", strings.Join(outline(chapters), "|"))
}
