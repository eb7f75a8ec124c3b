package synth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

func speechTask(g bus.Segment, attempt int) deliver.Task {
	return deliver.Task{Bundle: &bus.Bundle{Seed: 5, Attempt: attempt}, Segment: g}
}

func TestAliasesAreSpokenAndMarksPointIntoTheBook(t *testing.T) {
	t.Parallel()
	work := bus.Segment{Text: "Dr. Who met St. Ann.", Pronunciations: json.RawMessage(
		`[{"start":0,"end":3,"alias":"Doctor"},{"start":8,"end":11,"alphabet":"ipa","phonemes":"mɛt"},{"start":12,"end":15,"alias":"Saint"}]`)}
	req, s, err := request(speechTask(work, 1))
	require.NoError(t, err)
	require.Equal(t, "Doctor Who met Saint Ann.", req.Text)
	require.Equal(t, int64(5), req.Seed)
	require.Equal(t, []engine.Pronunciation{{Start: 11, End: 14, Alphabet: "ipa", Phonemes: "mɛt"}}, req.Pronunciations)
	marks := []engine.Mark{{Start: 0, End: 6}, {Start: 7, End: 10}, {Start: 11, End: 14}, {Start: 15, End: 20}, {Start: 21, End: 25}, {Start: 0, End: 25}}
	s.restore(marks)
	var got []string
	for _, m := range marks {
		got = append(got, work.Text[m.Start:m.End])
	}
	if diff := cmp.Diff([]string{"Dr.", "Who", "met", "St.", "Ann.", work.Text}, got); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

func TestASegmentsOwnInstructionsComeBeforeTheJobs(t *testing.T) {
	t.Parallel()
	task := speechTask(bus.Segment{Text: "a"}, 1)
	task.Bundle.Instructions = "warm"
	req, _, err := request(task)
	require.NoError(t, err)
	require.Equal(t, "warm", req.Instructions)
	task.Segment.Instructions = "cold"
	req, _, err = request(task)
	require.NoError(t, err)
	require.Equal(t, "cold", req.Instructions)
}

func TestEachAttemptHasASeedOfItsOwn(t *testing.T) {
	t.Parallel()
	first, _, err := request(speechTask(bus.Segment{Text: "a"}, 1))
	require.NoError(t, err)
	second, _, err := request(speechTask(bus.Segment{Text: "a"}, 2))
	require.NoError(t, err)
	require.NotEqual(t, first.Seed, second.Seed)
}

func TestPronunciationsThatDoNotFitAreOurBug(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"not JSON":    `[{`,
		"beyond":      `[{"start":0,"end":9,"alias":"x"}]`,
		"overlapping": `[{"start":0,"end":2,"alias":"x"},{"start":1,"end":3,"alias":"y"}]`,
		"empty":       `[{"start":1,"end":1,"alias":"x"}]`,
	} {
		_, _, err := request(speechTask(bus.Segment{Text: "abcd", Pronunciations: json.RawMessage(raw)}, 1))
		require.Error(t, err, name)
		require.Equal(t, job.Internal, job.KindOf(err), name)
	}
}

func TestWordsKeepTheirPlacesWhateverIsReplaced(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zé]{1,6}`), 1, 12).Draw(t, "words")
		text := strings.Join(words, " ")
		var list []said
		var spoken []string
		at := 0
		for _, w := range words {
			p := said{Start: at, End: at + len(w)}
			at += len(w) + 1
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				p.Alias = rapid.StringMatching(`[a-zé]{1,9}`).Draw(t, "alias")
				list = append(list, p)
				spoken = append(spoken, p.Alias)
			case 1:
				p.Phonemes = "x"
				list = append(list, p)
				spoken = append(spoken, w)
			default:
				spoken = append(spoken, w)
			}
		}
		got, phonemes, s := spell(text, list)
		if want := strings.Join(spoken, " "); got != want {
			t.Fatalf("spell = %q; want %q", got, want)
		}
		for _, p := range phonemes {
			if !strings.Contains(" "+text+" ", " "+got[p.Start:p.End]+" ") {
				t.Fatalf("phonemes for %q, which is not a word of %q", got[p.Start:p.End], text)
			}
		}
		at = 0
		for i, w := range spoken {
			marks := []engine.Mark{{Start: at, End: at + len(w)}}
			at += len(w) + 1
			s.restore(marks)
			if back := text[marks[0].Start:marks[0].End]; back != words[i] {
				t.Fatalf("word %d of %q leads back to %q; want %q", i, got, back, words[i])
			}
		}
	})
}
