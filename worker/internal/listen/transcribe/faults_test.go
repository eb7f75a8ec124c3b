package transcribe_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
)

// The faults that are planted.
const (
	clean   = "clean"
	cut     = "cut at 60 %"
	doubled = "doubled stretch"
	again   = "said again"
	another = "another segment's"
	leftOut = "sentence left out"
	silence = "silence"
	runaway = "runaway"
)

var planted = []string{cut, doubled, again, another, leftOut, silence, runaway}

// trial is one piece of audio with what was heard in it.
type trial struct {
	book, voice, fault string
	text               string
	predicted          float64 // seconds
	heard              hearing
}

// BenchmarkPlantedFaults has neural voices speak segments of some texts, plants faults,
// and has the ear hear all of it. Each voice's limits come from its clean segments of the
// first text, if they are enough; what they find is reported of each. What was spoken and
// heard is kept in VOICEMILL_EAR_CACHE, so that a change of what is made of it takes
// seconds. VOICEMILL_EAR_FAULTS names the faults that are planted, all if it is empty; with
// VOICEMILL_EAR_DEAF every word counts as heard, and the sound is judged by itself.
// `make bench-ear` runs it.
func BenchmarkPlantedFaults(b *testing.B) {
	books, err := filepath.Glob(filepath.Join(os.Getenv("VOICEMILL_EAR_BOOKS"), "*.txt"))
	require.NoError(b, err)
	if len(books) == 0 {
		b.Skip("VOICEMILL_EAR_BOOKS is no folder of texts; use make bench-ear")
	}
	size, err := strconv.Atoi(os.Getenv("VOICEMILL_EAR_SEGMENTS"))
	require.NoError(b, err)
	more, err := strconv.Atoi(cmp.Or(os.Getenv("VOICEMILL_EAR_CLEAN"), "0"))
	require.NoError(b, err)
	voices := strings.Split(cmp.Or(os.Getenv("VOICEMILL_EAR_VOICES"), "joe"), ",")
	l := newLaboratory(b)
	for b.Loop() {
		var all []trial
		for _, v := range voices {
			for _, book := range books {
				all = append(all, l.try(book, v, size, more)...)
			}
		}
		for _, c := range l.costs {
			b.ReportMetric(c.cpu/c.audio, "cpu-s/audio-s-"+c.of)
		}
		report(b, all, name(books[0]))
	}
}

// laboratory speaks and listens, and keeps what came of it.
type laboratory struct {
	tb       testing.TB
	cache    cache
	model    string // that hears
	deaf     bool
	ear      func() *transcribe.Ear
	speakers map[string]*neural.Engine // by model
	costs    []*cost
}

// cost is what the processor did for how much audio.
type cost struct {
	of         string
	cpu, audio float64 // seconds
}

func newLaboratory(tb testing.TB) *laboratory {
	tb.Helper()
	l := &laboratory{tb: tb, cache: cache{cmp.Or(os.Getenv("VOICEMILL_EAR_CACHE"), tb.TempDir())}, speakers: map[string]*neural.Engine{}}
	options := strings.Fields(os.Getenv("VOICEMILL_EAR_OPTIONS"))
	l.deaf = os.Getenv("VOICEMILL_EAR_DEAF") != ""
	l.model = strings.Join(append([]string{"whisper-base"}, options...), " ")
	l.ear = sync.OnceValue(func() *transcribe.Ear {
		ear, _ := realEar(tb, options...)
		return ear
	})
	return l
}

// spend adds what was done to the costs of.
func (l *laboratory) spend(of string, cpu, audio float64) {
	i := slices.IndexFunc(l.costs, func(c *cost) bool { return c.of == of })
	if i < 0 {
		i, l.costs = len(l.costs), append(l.costs, &cost{of: of})
	}
	l.costs[i].cpu, l.costs[i].audio = l.costs[i].cpu+cpu, l.costs[i].audio+audio
}

// spoken is what a voice said.
type spoken struct {
	Audio     engine.Audio
	Sentences []engine.Mark
	CPU       float64 // seconds
}

// say has a voice speak: joe is a model of its own, the others are Kokoro's.
func (l *laboratory) say(v, text string) (s spoken) {
	return l.speak(v, enginetest.Request(text), digest(l.tb, "said", v, text))
}

// retell has a voice say text once more with other samples: a little faster, and by
// other dice where the voice throws some.
func (l *laboratory) retell(v, text string) (s spoken) {
	q := enginetest.Request(text)
	q.Speed, q.Seed = 1.06, 7
	return l.speak(v, q, digest(l.tb, "said", v, text, q.Speed, q.Seed))
}

// speak has a voice answer q, unless what it said is kept under key.
func (l *laboratory) speak(v string, q engine.Request, key string) (s spoken) {
	if !l.cache.get(l.tb, key, &s) {
		model := "kokoro"
		if q.Voice = v; v == "joe" {
			model, q.Voice = "joe", ""
		}
		if l.speakers[model] == nil {
			l.speakers[model] = voice(l.tb, model)
			say(l.tb, l.speakers[model], q) // what loading the model costs is no cost of speech
		}
		before := childrenCPU(l.tb)
		results, err := l.speakers[model].Synthesize(l.tb.Context(), []engine.Request{q})
		require.NoError(l.tb, err)
		require.NoError(l.tb, results[0].Err)
		s = spoken{results[0].Audio, results[0].Sentences, childrenCPU(l.tb) - before}
		l.cache.put(l.tb, key, s)
	}
	l.spend(v, s.CPU, s.Audio.Seconds())
	return s
}

// listen has the ear hear audio, unless it is silent. A deaf laboratory takes every word of
// text for heard, so that only the sound is judged.
func (l *laboratory) listen(audio engine.Audio, text string) hearing {
	h := hearing{sound: listen.NewSound(audio.Samples, audio.Rate), audio: audio}
	if h.sound.Seconds() == 0 {
		return h
	}
	if l.deaf {
		h.words = []listen.Span{{Text: text}}
		return h
	}
	var known struct {
		Words []listen.Span
		CPU   float64
	}
	key := digest(l.tb, "heard", l.model, audio.Rate, audio.Samples)
	if !l.cache.get(l.tb, key, &known) {
		ear := l.ear()
		before := childrenCPU(l.tb)
		heard, err := ear.Hear(l.tb.Context(), audio, "en")
		require.NoError(l.tb, err)
		known.Words, known.CPU = heard.Words, childrenCPU(l.tb)-before
		l.cache.put(l.tb, key, known)
	}
	l.spend("ear", known.CPU, audio.Seconds())
	h.words = h.sound.Audible(known.Words)
	return h
}

// try returns the trials of one text and voice: size segments with all faults, and more
// without any.
func (l *laboratory) try(path, v string, size, more int) (all []trial) {
	texts := segments(l.tb, path, size, more)
	size = min(size, len(texts))
	var first, before spoken
	note := func(text, fault string, audio engine.Audio) {
		if f := os.Getenv("VOICEMILL_EAR_FAULTS"); f != "" && fault != clean && !strings.Contains(f, fault) {
			return // not asked for
		}
		all = append(all, trial{
			book: name(path), voice: v, fault: fault, text: text, predicted: enginetest.Request(text).Seconds, heard: l.listen(audio, text),
		})
	}
	for i, text := range texts {
		said := l.say(v, text)
		note(text, clean, said.Audio)
		if i >= size {
			continue
		}
		if i == 0 {
			first = said
		} else {
			note(text, another, before.Audio)
		}
		before = said
		s, r := said.Audio.Samples, said.Audio.Rate
		n := len(s)
		join := func(parts ...[]int16) engine.Audio {
			return engine.Audio{Rate: r, Samples: slices.Concat(parts...)}
		}
		note(text, leftOut, join(l.without(v, text, said, i)...))
		note(text, silence, join(make([]int16, n)))
		note(text, cut, join(s[:n*6/10]))
		note(text, doubled, join(s[:n*7/10], s[n*4/10:]))
		other := quieter(l.retell(v, text).Audio.Samples)
		m := len(other)
		note(text, again, join(s[:n*7/10], other[m*4/10:m*7/10], s[n*7/10:]))
		note(text, runaway, join(s, slices.Repeat(s[max(0, n-2*r):], 3)))
	}
	note(texts[0], another, before.Audio)
	require.NotEqual(l.tb, first, before)
	return all
}

// quieter returns samples at seven tenths of their level, 3 dB less.
func quieter(samples []int16) []int16 {
	out := make([]int16, len(samples))
	for i, s := range samples {
		out[i] = int16(int(s) * 7 / 10) //nolint:gosec // it fits
	}
	return out
}

// without returns the parts of what was said that remain when a sentence is left out, the
// first, the last or one between by turns. A voice says each by itself, so that it is
// what it would say without it.
func (l *laboratory) without(v, text string, said spoken, turn int) [][]int16 {
	s, marks := said.Audio.Samples, said.Sentences
	if len(marks) < 2 { // it took both for one
		return [][]int16{l.say(v, text[sentence.FindStringIndex(text)[1]:]).Audio.Samples}
	}
	gone := turn % len(marks)
	if gone == len(marks)-1 {
		return [][]int16{s[:marks[gone].Sample]}
	}
	return [][]int16{s[:marks[gone].Sample], s[marks[gone+1].Sample:]}
}

func name(path string) string { return strings.TrimSuffix(filepath.Base(path), ".txt") }

var sentence = regexp.MustCompile(`[.!?][”"’')]* +`)

// What a paragraph that is code, a table or a list of figures has, and prose has not.
var noProse = regexp.MustCompile("[_/{}<>=|`$#*\\[\\]+~^]|--|\\w\\.\\w|\\w:\\w|\\d[–-]|[A-Z]{2}")

// longest is how many characters a text has at most: short segments are quickly heard, and
// the harder ones.
const longest = 150

// segments returns size segments of a text and more of them if there are, spread over it:
// the first sentences, two or more, of its paragraphs of prose.
func segments(tb testing.TB, path string, size, more int) []string {
	tb.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // the caller's own
	require.NoError(tb, err)
	var all []string
	for p := range strings.SplitSeq(string(raw), "\n\n") {
		p = strings.Join(strings.Fields(p), " ")
		if noProse.MatchString(p) {
			continue
		}
		text := ""
		for _, e := range sentence.FindAllStringIndex(p+" ", -1) {
			if e[1] > longest {
				break
			}
			text = strings.TrimSpace((p + " ")[:e[1]])
		}
		if first := sentence.FindStringIndex(text + " "); first != nil && first[1] >= 25 && len(text)-first[1] >= 25 {
			all = append(all, text)
		}
	}
	require.Greater(tb, len(all), 1, path)
	return spread(all)[:min(size+more, len(all))]
}

// spread puts all into an order of which every beginning is spread over the whole.
func spread(all []string) []string {
	step := max(1, int(.618*float64(len(all))))
	for gcd(step, len(all)) != 1 {
		step++
	}
	mixed := make([]string, len(all))
	for i := range mixed {
		mixed[i] = all[i*step%len(all)]
	}
	return mixed
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// TestSpreadKeepsAll says that no segment is lost or doubled.
func TestSpreadKeepsAll(t *testing.T) {
	for n := 1; n < 70; n++ {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("%02d", i)
		}
		require.Equal(t, all, slices.Sorted(slices.Values(spread(all))))
	}
}
