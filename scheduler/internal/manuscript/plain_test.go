package manuscript_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// wrapped is prose broken at about 60 characters, so that a text is taken for
// a wrapped one.
const wrapped = `It was a bright cold day in the valley and the clocks of the
town had just struck thirteen when the old miller opened the
door of his mill and looked out, as he did every day, at the
long road.

`

func TestPlainTextBecomesParagraphs(t *testing.T) {
	t.Parallel()
	long := "It was a bright cold day in the valley and the clocks of the town had just struck thirteen when the old miller opened the door of his mill and looked out, as he did every day, at the long road."
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"one line":                        {"Hello there.", []string{"Hello there."}},
		"wrapped lines join":              {wrapped + wrapped, []string{long, long}},
		"a hyphen at the end of a line":   {wrapped + strings.ReplaceAll(wrapped, "cold day in the valley and the clocks of the\ntown", "cold day in the valley, and the clocks of well-\nknown towns"), []string{long, strings.ReplaceAll(long, "valley and the clocks of the town", "valley, and the clocks of well-known towns")}},
		"verse stays verse":               {wrapped + wrapped + "  Roses are red,\n  violets blue\n\n", []string{long, long, "Roses are red, violets blue"}},
		"lines that are paragraphs":       {"He came.\nShe left. Then it was quiet for a long, long time in the house.\n「はい。」\nおわり。", []string{"He came.", "She left. Then it was quiet for a long, long time in the house.", "「はい。」", "おわり。"}},
		"lines of a poem alone":           {"Roses are red,\nviolets blue,\n\nsugar is sweet", []string{"Roses are red, violets blue,", "sugar is sweet"}},
		"emphasis has no words":           {"An _old_ *story* of 5 * 3 and snake_case.", []string{"An old story of 5 * 3 and snake_case."}},
		"carriage returns and form feeds": {"one.\r\n\r\ntwo\rthree\f", []string{"one.", "two three"}},
		"a byte order mark is no text":    {"\ufeffHello.", []string{"Hello."}},
		"entities are not resolved":       {"R&amp;D &lt;b&gt;", []string{"R&amp;D &lt;b&gt;"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, []byte(c.text), manuscript.TypePlain)
			if diff := cmp.Diff(c.want, texts(chapters)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlainHeadingsMakeChapters(t *testing.T) {
	t.Parallel()
	prose := "\n\nSome prose that is spoken here.\n\n\n"
	for name, c := range map[string]struct{ text, want string }{
		"numbers and names":        {"CHAPTER I. The Mill" + prose + "Chapter 2" + prose + "CHAPTER THREE\nThe River" + prose, "body: CHAPTER I. The Mill|body: Chapter 2|body: CHAPTER THREE. The River"},
		"parts":                    {"PART ONE" + prose + "Chapter 1" + prose, "body: PART ONE|body: Chapter 1"},
		"numbers alone, set apart": {"Start." + prose + "I." + prose + "II." + prose, "body: |body: I.|body: II."},
		"words without numbers":    {"Prologue" + prose + "Kapitel 1" + prose + "Index" + prose, "body: Prologue|body: Kapitel 1|back: Index"},
		"Japanese":                 {"第一章　出発\n\n本文です。\n\n第二章\n\n本文です。", "body: 第一章 出発|body: 第二章"},
		"a sentence is no heading": {"Start." + prose + "Chapter one of his life was over, and so he left." + prose, "body: "},
		"a table of contents":      {"Chapter 1\n\nChapter 2\n\nChapter 3\n\nChapter 4\n\nIt begins.\n\nChapter 1" + prose + "Chapter 2" + prose, "body: |body: Chapter 1|body: Chapter 2"},
		"a licence around the work": {
			"Title: The Mill\nAuthor: A. Writer\n\n*** START OF THE PROJECT GUTENBERG EBOOK THE MILL ***" + prose + "Chapter 1" + prose + "*** END OF THE PROJECT GUTENBERG EBOOK THE MILL ***\n\nRights.",
			"front: |body: |body: Chapter 1|back: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, chapters := read(t, []byte(c.text), manuscript.TypePlain)
			require.Equal(t, c.want, strings.Join(outline(chapters), "|"))
			if strings.HasPrefix(c.text, "Title") {
				require.Equal(t, []string{"The Mill", "A. Writer"}, []string{doc.About.Title, doc.About.Author})
			}
		})
	}
}

func TestInlineTextIsADocument(t *testing.T) {
	t.Parallel()
	doc, err := manuscript.FromText(t.Context(), "Guten Tag.", manuscript.Options{Language: "de"})
	require.NoError(t, err)
	for c, err := range doc.Chapters() {
		require.NoError(t, err)
		want := manuscript.Segment{Text: "Guten Tag.", Source: manuscript.Span{End: 10}, Break: manuscript.BreakChapter, Seconds: c.Segments[0].Seconds}
		require.Empty(t, cmp.Diff([]manuscript.Segment{want}, c.Segments))
		require.InDelta(t, 10/14.8+0.2, c.Segments[0].Seconds, 1e-9)
	}
}
