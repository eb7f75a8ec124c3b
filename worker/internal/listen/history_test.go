package listen_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/listen"
)

const rate = 16000

// tone returns seconds of sound, or of silence for level 0.
func tone(seconds, level float64) []int16 {
	samples := make([]int16, int(seconds*rate))
	for i := range samples {
		samples[i] = int16(level * math.MaxInt16 * math.Sin(float64(i)/10))
	}
	return samples
}

func TestWordsInventedOnSilenceAreNotHeard(t *testing.T) {
	t.Parallel()
	sound := listen.NewSound(append(tone(2, .3), tone(4, 0)...), rate)
	said := listen.Span{Text: "hello", Start: .2, End: 1.8}
	got := sound.Audible([]listen.Span{said, {Text: "Thank", Start: 3, End: 3.4}, {Text: "you", Start: 3.4, End: 3.8}, {Text: "timeless"}})
	require.Equal(t, []listen.Span{said, {Text: "timeless"}}, got)
	require.InDelta(t, 2, sound.Seconds(), .05)
}

func TestSoundThatNobodyHeardWordsInIsFound(t *testing.T) {
	t.Parallel()
	sound := listen.NewSound(tone(10, .3), rate)
	spans := []listen.Span{{Text: "hello", Start: 0, End: .5}, {Text: "world", Start: .6, End: 9.9}}
	require.InDelta(t, 10-.6-.95-.2, sound.Unheard(spans), .1, "a word is not stretched over what was skipped")
	require.InDelta(t, 4.6, sound.Unheard([]listen.Span{{Text: "hello", Start: 5, End: 5.5}}), .5)
	require.Zero(t, sound.Unheard([]listen.Span{{Text: "timeless"}}))
	require.Zero(t, listen.NewSound(tone(10, 0), rate).Unheard(spans))
	require.Empty(t, listen.NewSound(tone(1, .3), 10))
}

func TestLimitsComeFromTheVoicesOwnHistory(t *testing.T) {
	t.Parallel()
	usual := listen.DefaultLimits()
	var h listen.History
	require.Equal(t, usual, h.Limits(usual))
	for i := range 1000 {
		h.Add(listen.Evidence{Report: compare("en", "It was quiet", "It was quiet"), Seconds: 2 + float64(i%10)/100, Predicted: 2})
	}
	l := h.Limits(usual)
	require.NoError(t, l.Validate())
	require.Equal(t, usual.Weight/2, l.Weight)
	require.InDelta(t, usual.Pace/2, l.Pace, .01)
	require.InDelta(t, 1.02, h.Pace(), .01)
	good := listen.Evidence{Report: compare("en", "It was quiet", "It was quiet"), Seconds: 10, Predicted: 10}
	require.Equal(t, listen.None, l.Judge(good, h.Pace()).Fault)
	good.Seconds = 20
	require.Equal(t, listen.Extra, l.Judge(good, h.Pace()).Fault)
	require.Equal(t, listen.None, l.Judge(good, 0).Fault)
	good.Seconds = 5
	require.Equal(t, listen.Missing, l.Judge(good, h.Pace()).Fault)
	require.Error(t, listen.Limits{}.Validate())
}

func TestSoundThatIsHeardTwiceCountsWithWhatElseIsMore(t *testing.T) {
	t.Parallel()
	usual := listen.DefaultLimits()
	right := listen.Evidence{Report: compare("en", "It was quiet", "It was quiet"), Seconds: 2, Predicted: 2, Twice: .3}
	require.Equal(t, listen.None, usual.Judge(right, 1).Fault, "by itself it is too little")
	longer := right
	longer.Seconds = 3
	require.Equal(t, listen.Repeated, usual.Judge(longer, 1).Fault, "23 % longer, and 35 are allowed")
	more := right
	more.Report = compare("en", "It was quiet", "It was quiet was quiet")
	require.LessOrEqual(t, more.Worst.Weight, usual.Weight)
	require.Equal(t, listen.Repeated, usual.Judge(more, 0).Fault)
	more.Twice, longer.Twice = .1, .1
	require.Equal(t, listen.None, usual.Judge(more, 0).Fault)
	require.Equal(t, listen.None, usual.Judge(longer, 1).Fault)
	right.Twice = .5
	require.Equal(t, listen.Repeated, usual.Judge(right, 1).Fault)

	var h listen.History
	for i := range 1000 {
		h.Add(listen.Evidence{Report: compare("en", "It was quiet", "It was quiet"), Twice: .4 + float64(i%10)/100})
	}
	require.InDelta(t, 1.3*.49, h.Limits(usual).Twice, .01)
	require.Equal(t, listen.None, h.Limits(usual).Judge(right, 0).Fault, "it is usual for this voice")
}

func TestWordsThatAreNeverHeardRightArePardoned(t *testing.T) {
	t.Parallel()
	var h listen.History
	for range 4 {
		h.Add(listen.Evidence{Report: compare("en", "They saw thaumaturgists there", "They saw four surges there")})
	}
	require.True(t, h.Pardoned("thaumaturgists"))
	require.False(t, h.Pardoned("there"))
	said, heard := listen.Tokens("en", "thaumaturgists came"), listen.Tokens("en", "four purchases came")
	require.Less(t, listen.Compare(said, heard, h.Pardoned).Worst.Weight, listen.Compare(said, heard, nil).Worst.Weight)
}
