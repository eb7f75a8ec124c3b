package manuscript_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

func TestSegmentsOfAnyTextAreItsWords(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching(`[a-zäéßжش]{1,24}|[A-Z][a-z]{0,12}|[0-9]{1,6}|Mr|e\.g|U\.S`)
	mark := rapid.SampledFrom([]string{" ", " ", " ", " ", ", ", ". ", "? ", "! ", "; ", ": ", " — ", ".\n\n", "\n", "... ", "” “"})
	rapid.Check(t, func(rt *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(1, 200).Draw(rt, "words") {
			b.WriteString(word.Draw(rt, "word"))
			b.WriteString(mark.Draw(rt, "mark"))
		}
		text := b.String()
		limit := rapid.SampledFrom([]float64{6, 12, 18}).Draw(rt, "cap")
		doc, err := manuscript.FromText(t.Context(), text, manuscript.Options{MaxSegmentSeconds: limit, Language: "en"})
		require.NoError(rt, err)
		var got []string
		for c, err := range doc.Chapters() {
			require.NoError(rt, err)
			for _, s := range c.Segments {
				require.LessOrEqual(rt, s.Seconds, limit+1e-9)
				require.NotEmpty(rt, wordsOf(s.Text), "nothing to say in %q", s.Text)
				require.Equal(rt, s.Text, strings.Join(strings.Fields(s.Text), " "))
				got = append(got, wordsOf(s.Text)...)
				from := strings.Join(strings.Fields(text[s.Source.Start:s.Source.End]), " ")
				require.Equal(rt, s.Text, from)
			}
		}
		require.Equal(rt, wordsOf(text), got)
	})
}

func TestSentencesArePackedNearTheAim(t *testing.T) {
	t.Parallel()
	// Eight sentences of 3.7 s make two segments of 15 s, not one of 18 s and a rest.
	text := strings.TrimSpace(strings.Repeat("The river ran down to the sea, and nobody asked it why. ", 8))
	_, chapters := read(t, []byte(text), manuscript.TypePlain)
	segments := chapters[0].Segments
	require.Len(t, segments, 2)
	for i, s := range segments {
		require.InDelta(t, 15, s.Seconds, 1)
		require.True(t, strings.HasSuffix(s.Text, "why."))
		want := manuscript.BreakSentence
		if i == len(segments)-1 {
			want = manuscript.BreakChapter
		}
		require.Equal(t, want, s.Break)
	}
}

// One letter under 700,000 marks was one segment of 1.4 MB, which no message carries.
func TestNoHeapOfMarksMakesASegmentThatCannotTravel(t *testing.T) {
	t.Parallel()
	text := "Say o" + strings.Repeat("\u0308", 700_000) + "h."
	_, chapters := read(t, []byte(text), manuscript.TypePlain)
	var all strings.Builder
	for _, s := range chapters[0].Segments {
		require.LessOrEqual(t, s.Seconds, 18.0)
		require.Less(t, len(s.Text), 2048)
		all.WriteString(s.Text)
	}
	require.Contains(t, all.String(), "Say")
	require.True(t, strings.HasSuffix(all.String(), "h."), "marks that no letter bears are left out, what follows is not")
	require.InDelta(t, 0.2+9/15.2, weigh(t, "שָׁלוֹם שָׁ"), 0.6, "marks that are read aloud weigh nothing")
}

func weigh(t *testing.T, text string) float64 {
	t.Helper()
	_, chapters := read(t, []byte(text), manuscript.TypePlain)
	return chapters[0].Segments[0].Seconds
}

func TestLongSentencesAreCutAtClauses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ unit, ends string }{
		"at commas":              {"and then the long road went on over the hill to the sea, ", ","},
		"between words":          {"and then the long road went on ", ""},
		"at Japanese commas":     {"山路を登りながらこう考えたのであるから、", "、"},
		"between characters":     {"山路を登りながらこう考えたのである", ""},
		"at Arabic commas":       {"ثم ذهب الرجل إلى البيت الكبير في المدينة، ", "،"},
		"at the ends of lines":   {"and then the road went on over the hill\n", "hill"},
		"inside an endless word": {"abcdefghij", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Repeat(c.unit, 40)
			_, chapters := read(t, []byte("<p>"+strings.ReplaceAll(text, "\n", "<br/>")+"</p>"), manuscript.TypeHTML)
			segments := chapters[0].Segments
			require.Greater(t, len(segments), 1)
			for _, s := range segments[:len(segments)-1] {
				require.Equal(t, manuscript.BreakNone, s.Break)
				require.LessOrEqual(t, s.Seconds, 18.0)
				require.True(t, strings.HasSuffix(s.Text, c.ends), "%q", s.Text)
			}
			require.Equal(t, strings.Join(wordsOf(text), ""), strings.Join(wordsOf(strings.Join(texts(chapters), "")), ""))
		})
	}
}

func TestPronouncedWordsAreNotDivided(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 90)
	page := `<p xmlns:ssml="s"><span ssml:ph="x">` + strings.TrimSpace(strings.Repeat("One. Two ", 8)) + `</span> ` + long + `</p>`
	_, chapters := read(t, []byte(page), manuscript.TypeXHTML)
	require.Len(t, chapters[0].Segments[0].Pronunciations, 1)
}

// book generates an EPUB of about words words in chapters of 3,000 from seed.
func book(tb testing.TB, words int) []byte {
	tb.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	vocabulary := strings.Fields(`the of and a to in he was that it his her with as had for she not at but be on they have him which
		said from all this there were would when one so their them been an no what if who will more up then into out other some do could time
		little house river mountain yesterday between nothing remember wonderful Mr. Dr. 1984 café`)
	var files []file
	var items []string
	for n := 0; words > 0; n++ {
		var b strings.Builder
		fmt.Fprintf(&b, "<h1>Chapter %d</h1>", n+1)
		for range 30 {
			b.WriteString("<p>")
			for w := range 100 {
				b.WriteString(vocabulary[rnd.IntN(len(vocabulary))])
				switch {
				case w%17 == 16:
					b.WriteString(". The ")
				case w%7 == 6:
					b.WriteString(", ")
				default:
					b.WriteString(" ")
				}
			}
			b.WriteString("<em>end</em>.</p>\n")
		}
		name := fmt.Sprintf("c%d", n)
		items = append(items, name+" "+name+".xhtml")
		files = append(files, file{"OPS/" + name + ".xhtml", xhtml(b.String())})
		words -= 3000
	}
	var spine []string
	for _, item := range items {
		id, _, _ := strings.Cut(item, " ")
		spine = append(spine, id)
	}
	return epub(tb, append(files, opf(items, strings.Join(spine, " "), ""))...)
}

func TestLongBookIsReadWhole(t *testing.T) {
	t.Parallel()
	_, chapters := read(t, book(t, 60_000), manuscript.TypeEPUB)
	require.Len(t, chapters, 20)
	count := 0
	for _, s := range texts(chapters) {
		count += len(strings.Fields(s))
	}
	require.GreaterOrEqual(t, count, 60_000)
	require.True(t, slices.IsSortedFunc(chapters, func(a, b *manuscript.Chapter) int { return len(a.Title) - len(b.Title) }))
}

func BenchmarkPlan(b *testing.B) {
	raw := book(b, 100_000)
	words := 0
	b.ReportAllocs()
	for b.Loop() {
		doc, err := manuscript.Open(b.Context(), bytes.NewReader(raw), int64(len(raw)), manuscript.TypeEPUB, manuscript.Options{})
		require.NoError(b, err)
		for c, err := range doc.Chapters() {
			require.NoError(b, err)
			for _, s := range c.Segments {
				words += strings.Count(s.Text, " ") + 1
			}
		}
	}
	b.ReportMetric(float64(words)/b.Elapsed().Minutes(), "words/min")
}
