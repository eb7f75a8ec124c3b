// Package checktest holds the judge against a real engine: what it says of audio as
// it came, and of the same audio with defects planted in it.
package checktest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Texts says how many sentences are spoken: what raw says, or few if it is empty.
func Texts(tb testing.TB, raw string, few int) int {
	tb.Helper()
	if raw == "" {
		return few
	}
	n, err := strconv.Atoi(raw)
	require.NoError(tb, err)
	return n
}

// Prove has e speak n sentences, after as many as a history needs, and fails tb
// unless at least 95 % of each planted defect is found and at most 1 % of the clean
// audio is held bad. voice is one of e's.
func Prove(tb testing.TB, e engine.Engine, voice engine.Voice, n int) {
	tb.Helper()
	const first = 16
	random := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // the same each time
	cfg, history := check.Default(), check.NewHistory()
	speaker := check.Speaker{Voice: voice.Name, Language: voice.Language}
	wrong, found := 0, map[string]int{}
	for i := range first + n {
		text := sentence(random)
		seconds := float64(len(text))/15 + 0.2
		results, err := e.Synthesize(tb.Context(), []engine.Request{{ID: strconv.Itoa(i), Text: text, Voice: voice.Name, Language: voice.Language, Seed: int64(i), Seconds: seconds}})
		require.NoError(tb, err)
		require.NoError(tb, results[0].Err)
		a := results[0].Audio
		want := history.Expect(cfg, speaker, seconds)
		want.Repeats = check.Repeats(text)
		v := check.Judge(cfg, a.Samples, a.Rate, want)
		history.Note(speaker, seconds, v)
		if i < first {
			continue
		}
		if !v.OK {
			wrong++
			tb.Logf("clean audio is held bad: %s: %s: %s", v.Reason, v.Detail, text)
		}
		for name, bad := range planted(random, a) {
			if check.Judge(cfg, bad, a.Rate, want).OK {
				continue
			}
			found[name]++
		}
	}
	tb.Logf("%d sentences: clean held bad %d, found %v", n, wrong, found)
	require.LessOrEqual(tb, wrong*100, n, "false alarms of %d", n)
	for _, name := range []string{"truncation", "silence", "runaway", "repeat", "clipping", "noise", "offset"} {
		require.GreaterOrEqual(tb, found[name]*100, n*95, "found %s of %d", name, n)
	}
}

// planted returns copies of a with a defect each.
func planted(random *rand.Rand, a engine.Audio) map[string][]int16 {
	s, n := a.Samples, len(a.Samples)
	from := n/10 + random.IntN(n/5)
	again := s[from : from+n/2] // of a sentence half, more than a second and a half
	loud, lifted, hiss := make([]int16, n), make([]int16, n), make([]int16, n)
	peak := 1
	for _, x := range s {
		peak = max(peak, int(x), -int(x))
	}
	for i, x := range s {
		loud[i] = clamp(int(x) * 5 * 32768 / peak)
		lifted[i] = clamp(int(x)/2 + 4000)
		hiss[i] = clamp(random.IntN(20000) - 10000)
	}
	return map[string][]int16{
		"truncation": s[:n*(30+random.IntN(20))/100],
		"silence":    make([]int16, n),
		"runaway":    slices.Concat(s, s[n/3:], s[n/5:n*9/10]),
		"repeat":     slices.Concat(s[:from+n/2], again, s[from+n/2:]),
		"clipping":   loud,
		"noise":      hiss,
		"offset":     lifted,
	}
}

func clamp(x int) int16 { return int16(min(max(x, -32768), 32767)) } //nolint:gosec // it fits

// words make sentences that mean nothing and repeat nothing.
var words = strings.Fields(`the a old quiet river bridge garden winter letter captain wooden orange thunder market follows carries
remembers beneath against whole morning family distant silver history village under behind window kitchen answer question brother
sister doctor mountain yellow simple gentle strange hungry leaves across never always perhaps tomorrow evening candle basket ocean
feather castle journey paper music shadow winter engine harvest island forest planet teacher visitor neighbour machine pocket`)

// sentence returns 8 to 18 words.
func sentence(random *rand.Rand) string {
	chosen := make([]string, 0, 30)
	for _, i := range random.Perm(len(words))[:8+random.IntN(11)] {
		chosen = append(chosen, words[i])
	}
	half := len(chosen) / 2
	return fmt.Sprintf("The %s, %s.", strings.Join(chosen[:half], " "), strings.Join(chosen[half:], " "))
}
