package subtitle_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/subtitle"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// segment has words of one second each at 1000 Hz, from start on.
func segment(text string, start int64, sentences ...timeline.Mark) subtitle.Segment {
	var m timeline.Marks
	at := start
	for _, w := range regexp.MustCompile(`\S+`).FindAllStringIndex(text, -1) {
		m.Words = append(m.Words, timeline.Mark{int64(w[0]), int64(w[1]), at})
		at += 1000
	}
	m.Sentences = sentences
	return subtitle.Segment{Words: timeline.Words(text, m, start, at-start), End: at, Rate: 1000}
}

func write(t require.TestingT, format string, end time.Duration, segments ...subtitle.Segment) string {
	var b strings.Builder
	w := subtitle.NewWriter(&b, format, "A\nbook")
	cut := subtitle.NewCutter(w.Cue)
	for _, s := range segments {
		require.NoError(t, cut.Add(s))
	}
	require.NoError(t, cut.Close(end))
	require.NoError(t, w.Close())
	return b.String()
}

func TestFormats(t *testing.T) {
	t.Parallel()
	a := segment(`He said: "<b> {x} & \N" --> end.`, 0)
	b := segment("Yes.", 9000)
	b.End = 9200
	require.Equal(t, `WEBVTT

00:00:00.000 --> 00:00:07.000
He <00:00:01.000>said: <00:00:02.000>"&lt;b&gt; <00:00:03.000>{x} <00:00:04.000>&amp; <00:00:05.000>\N" <00:00:06.000>--&gt;

00:00:07.000 --> 00:00:08.000
end.

00:00:09.000 --> 00:00:10.000
Yes.
`, write(t, job.SubtitlesVTT, time.Minute, a, b))
	require.Equal(t, strings.ReplaceAll(`1
00:00:00,000 --> 00:00:07,000
He said: "<~b> {~x} & \N" --~>

2
00:00:07,000 --> 00:00:08,000
end.

3
00:00:09,000 --> 00:00:09,700
Yes.

`, "~", "\u2060"), write(t, job.SubtitlesSRT, 9700*time.Millisecond, a, b))
	_, events, _ := strings.Cut(write(t, job.SubtitlesASS, time.Minute, a, b), "Effect, Text\n")
	require.Equal(t, strings.ReplaceAll(`Dialogue: 0,0:00:00.00,0:00:07.00,Default,,0,0,0,,{\k100}He {\k100}said: {\k100}"<b> {\k100}\{x\} {\k100}& {\k100}\~N" {\k100}-->
Dialogue: 0,0:00:07.00,0:00:08.00,Default,,0,0,0,,{\k100}end.
Dialogue: 0,0:00:09.00,0:00:10.00,Default,,0,0,0,,{\k100}Yes.
`, "~", "\u2060"), events)
	require.Contains(t, write(t, job.SubtitlesASS, 0), "Title: A book\n")
	require.Equal(t, "WEBVTT\n", write(t, job.SubtitlesVTT, 0))
}

// plain is the text of each cue of a file in SRT, its lines parted by |.
func plain(srt string) (out []string) {
	for c := range strings.SplitSeq(strings.TrimSpace(srt), "\n\n") {
		out = append(out, strings.Join(strings.Split(c, "\n")[2:], "|"))
	}
	return out
}

func TestCuesEndWhereSentencesAndClausesDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text      string
		sentences []timeline.Mark
		want      []string
	}{
		"sentences":            {"One two. Three four.", []timeline.Mark{{0, 8, 0}, {9, 20, 0}}, []string{"One two.", "Three four."}},
		"a clause":             {"a b c d e, f g h i", nil, []string{"a b c d e,", "f g h i"}},
		"nothing to end with":  {"a b c d e f g h i", nil, []string{"a b c d e f g", "h i"}},
		"two lines":            {"Incomprehensibilities notwithstanding, everybody understands.", nil, []string{"Incomprehensibilities notwithstanding,|everybody understands."}},
		"longer than any line": {strings.Repeat("x", 50) + " y", nil, []string{strings.Repeat("x", 50) + "|y"}},
		"wide letters have two columns": {
			strings.Repeat("漢", 20) + " " + strings.Repeat("字", 20) + " " + strings.Repeat("文", 20), nil,
			[]string{strings.Repeat("漢", 20) + "|" + strings.Repeat("字", 20), strings.Repeat("文", 20)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, plain(write(t, job.SubtitlesSRT, time.Hour, segment(c.text, 0, c.sentences...))))
		})
	}
}

// TestHighlightsKeepToTheMarks holds the files against the times of random words:
// nothing is lost, cues do not overlap, and each word lights up within 50 ms of
// its mark (within 10 ms, in fact: that is all that ASS can write).
func TestHighlightsKeepToTheMarks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var segments []subtitle.Segment
		var text []string
		var starts []time.Duration
		at, rate := int64(0), rapid.SampledFrom([]int{16000, 22050, 24000}).Draw(t, "rate")
		offset := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "offset"))
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			s := subtitle.Segment{Rate: rate, Offset: offset}
			for range rapid.IntRange(1, 30).Draw(t, "words") {
				w := fmt.Sprintf("w%d", len(text)) + rapid.SampledFrom([]string{"", "", ",", ".", strings.Repeat("x", 12)}).Draw(t, "end")
				s.Words = append(s.Words, timeline.Word{Text: w + " ", Sample: at, Sentence: rapid.IntRange(0, 5).Draw(t, "sentence") == 0})
				text, starts = append(text, w), append(starts, offset+timeline.Time(at, rate))
				at += rapid.Int64Range(1000, 40000).Draw(t, "long")
			}
			s.End = at
			segments = append(segments, s)
			at += rapid.Int64Range(0, 30000).Draw(t, "pause")
		}
		var cues []subtitle.Cue
		cut := subtitle.NewCutter(func(c subtitle.Cue) error { cues = append(cues, c); return nil })
		for _, s := range segments {
			require.NoError(t, cut.Add(s))
		}
		require.NoError(t, cut.Close(offset+timeline.Time(at, rate)))
		last := time.Duration(0)
		for _, c := range cues {
			require.GreaterOrEqual(t, c.Start, last)
			last = c.End
			require.LessOrEqual(t, len(c.Lines), 2)
			require.LessOrEqual(t, c.End-c.Start, 7*time.Second)
			for _, line := range c.Lines {
				require.LessOrEqual(t, columns(line), 42)
			}
		}
		end := offset + timeline.Time(at, rate)
		check(t, text, starts, vttWords(write(t, job.SubtitlesVTT, end, segments...)))
		check(t, text, starts, assWords(write(t, job.SubtitlesASS, end, segments...)))
	})
}

func columns(line []subtitle.Word) (n int) {
	for _, w := range line {
		n += len(w.Text)
	}
	return n
}

type lit struct {
	text string
	at   time.Duration
}

func check(t *rapid.T, text []string, starts []time.Duration, got []lit) {
	require.Len(t, got, len(text))
	for i, w := range got {
		require.Equal(t, text[i], w.text)
		require.InDelta(t, starts[i].Seconds(), w.at.Seconds(), 0.010)
	}
}

func seconds(h, m, s string) time.Duration {
	d, err := time.ParseDuration(h + "h" + m + "m" + s + "s")
	if err != nil {
		panic(err)
	}
	return d
}

// vttWords reads a file as a player does: a word lights up at the last time before it.
func vttWords(file string) (out []lit) {
	stamp := regexp.MustCompile(`(\d+):(\d\d):(\d\d\.\d{3})`)
	for _, cue := range strings.Split(file, "\n\n")[1:] {
		head, body, _ := strings.Cut(cue, "\n")
		at := stamp.FindStringSubmatch(head)
		now := seconds(at[1], at[2], at[3])
		for _, part := range regexp.MustCompile(`<[^>]*>|[^<\s]+`).FindAllString(body, -1) {
			if m := stamp.FindStringSubmatch(part); m != nil {
				now = seconds(m[1], m[2], m[3])
				continue
			}
			out = append(out, lit{part, now})
		}
	}
	return out
}

func assWords(file string) (out []lit) {
	for _, m := range regexp.MustCompile(`(?m)^Dialogue: 0,(\d+):(\d\d):(\d\d\.\d\d),.*?,,0,0,0,,(.*)$`).FindAllStringSubmatch(file, -1) {
		now := seconds(m[1], m[2], m[3])
		for _, w := range regexp.MustCompile(`\{\\k(\d+)\}([^{]*)`).FindAllStringSubmatch(m[4], -1) {
			out = append(out, lit{strings.TrimSpace(strings.ReplaceAll(w[2], `\N`, "")), now})
			n, err := strconv.Atoi(w[1])
			if err != nil {
				panic(err)
			}
			now += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return out
}
