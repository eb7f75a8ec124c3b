package timeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/timeline"
)

func TestWordsCoverTheirTextAndSoundWhenTheMarksSay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		m    timeline.Marks
		want []timeline.Word
	}{
		"marks with punctuation between": {
			`“Go,” he said. "Now!"`,
			timeline.Marks{Words: []timeline.Mark{{3, 5, 10}, {10, 12, 40}, {13, 17, 50}, {20, 23, 80}}, Sentences: []timeline.Mark{{0, 18, 10}, {19, 24, 80}}},
			[]timeline.Word{{`“Go,” `, 10, true}, {"he ", 40, false}, {"said. ", 50, false}, {`"Now!"`, 80, true}},
		},
		"words that touch": {"他走了。", timeline.Marks{Words: []timeline.Mark{{0, 3, 5}, {3, 9, 20}}}, []timeline.Word{{"他", 5, true}, {"走了。", 20, false}}},
		"no marks":         {" a bcd  e", timeline.Marks{}, []timeline.Word{{" a ", 0, true}, {"bcd  ", 20, false}, {"e", 80, false}}},
		"no marks, wide":   {"他走。", timeline.Marks{}, []timeline.Word{{"他", 0, true}, {"走。", 50, false}}},
		"marks that cannot be": {
			"a b",
			timeline.Marks{Words: []timeline.Mark{{0, 1, 10}, {2, 9, 20}}},
			[]timeline.Word{{"a ", 0, true}, {"b", 50, false}},
		},
		"nothing to speak": {"", timeline.Marks{}, []timeline.Word{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, timeline.Words(c.text, c.m, 0, 100))
		})
	}
}

func TestWordsAreTheWholeTextInOrderWhateverTheMarks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, -1).Draw(t, "text")
		var m timeline.Marks
		mark := rapid.Custom(func(t *rapid.T) timeline.Mark {
			from := rapid.Int64Range(-2, 30).Draw(t, "from")
			return timeline.Mark{from, from + rapid.Int64Range(-1, 6).Draw(t, "long"), rapid.Int64Range(0, 120).Draw(t, "sample")}
		})
		m.Words = rapid.SliceOfN(mark, 0, 5).Draw(t, "words")
		m.Sentences = rapid.SliceOfN(mark, 0, 3).Draw(t, "sentences")
		var all strings.Builder
		last := int64(0)
		words := timeline.Words(text, m, 0, 100)
		for _, w := range words {
			if w.Sample < last || w.Sample > 100 {
				t.Fatalf("%q sounds at %d, after %d", w.Text, w.Sample, last)
			}
			last = w.Sample
			all.WriteString(w.Text)
		}
		if len(words) > 0 && all.String() != text {
			t.Fatalf("the words are %q", all.String())
		}
	})
}

func TestMarksArePlacedInTheChapter(t *testing.T) {
	t.Parallel()
	m, err := timeline.ReadMarks([]byte(`{"sentences":[[0,3,0]],"words":[[0,1,5]],"words_by":"proportion"}`), 1000)
	require.NoError(t, err)
	require.Equal(t, timeline.Marks{Sentences: []timeline.Mark{{0, 3, 1000}}, Words: []timeline.Mark{{0, 1, 1005}}, WordsBy: "proportion"}, m)
	_, err = timeline.ReadMarks([]byte(`[]`), 0)
	require.Error(t, err)
}

func TestTimesDoNotOverflow(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1000*time.Hour+500*time.Millisecond, timeline.Time((1000*3600*2+1)*24000, 48000))
}
