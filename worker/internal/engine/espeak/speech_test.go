package espeak_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak"
)

const passage = "It was ten past nine on 3 May 1871; Mr. Holmes hadn't slept. “Well,” he said, “that's $3.50 lost!” Nobody answered him… Then the door opened."

// samples are a few words in languages of the public voices.
var samples = map[string]string{
	"en": passage, "en-GB": passage,
	"de": "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich. Es war Zeit!",
	"fr": "Voix ambiguë d’un cœur qui préfère les jattes de kiwis. L’été, c’est fini.",
	"es": "¿Dónde está el niño? El pingüino Wenceslao hizo kilómetros.",
	"it": "Quel vituperabile xenofobo zelante assaggia il whisky. Perché no?",
	"pt": "Um pequeno jabuti xereta viu dez cegonhas felizes. Não é?",
	"nl": "Pa's wijze lynx bezag vroom het fikse aquaduct. Mooi!", //nolint:misspell // Dutch
	"pl": "Zażółć gęślą jaźń. Pchnąć w tę łódź jeża.",
	"ru": "Съешь же ещё этих мягких французских булок. Да?",
	"tr": "Pijamalı hasta yağız şoföre çabucak güvendi. Evet.",
	"ar": "مرحبا بالعالم. كيف حالك؟",
	"ja": "こんにちは せかい。 げんきですか。",
	"zh": "你好，世界。今天天气很好。",
	"hi": "नमस्ते दुनिया। आप कैसे हैं?",
	"el": "Γειά σου Κόσμε. Τι κάνεις;",
	"sv": "Flygande bäckasiner söka hwila på mjuka tuvor. Ja!",
	"fi": "Törkylempijävongahdus on sana. Niin on.",
	"cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Ano.",
	"ro": "Muzicologă în bej vând whisky și tequila. Da.",
	"hu": "Árvíztűrő tükörfúrógép. Jó napot!",
	"uk": "Жебракують філософи при ґанку церкви. Так.",
	"ko": "안녕하세요 세계. 잘 지내세요?",
}

func TestSameRequestSameSamples(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helpers: 2})
	want := map[string]engine.Audio{}
	for language, text := range samples {
		r := one(t, e, engine.Request{Text: text, Language: language})
		require.NoErrorf(t, r.Err, "in %s", language)
		want[language] = r.Audio
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for language, text := range samples { // in another order each time
				results, err := e.Synthesize(t.Context(), []engine.Request{
					{Text: fmt.Sprintf("Something else, number %d.", worker), Speed: 1.7},
					{Text: text, Language: language},
				})
				if err != nil || results[1].Err != nil {
					t.Errorf("in %s: %v %v", language, err, results)
					return
				}
				if got := results[1].Audio; len(got.Samples) != len(want[language].Samples) || !equal(got.Samples, want[language].Samples) {
					t.Errorf("in %s the same text sounds different after others", language)
				}
			}
		})
	}
	wg.Wait()
}

func equal(a, b []int16) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestEveryPublicVoiceSpeaks(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{})
	for _, v := range espeak.Voices() {
		q := engine.Request{Text: "12345", Voice: v.Name} // has a reading everywhere
		if text, ok := samples[v.Language]; ok {
			q.Text = text
		}
		r := one(t, e, q)
		require.NoErrorf(t, r.Err, "voice %s", v.Name)
		enginetest.Good(t, e, q, r)
	}
}

func TestMarksNameTheWordsThatWereSpoken(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{})
	for language, text := range samples {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			q := engine.Request{Text: text, Language: language}
			r := one(t, e, q)
			enginetest.Good(t, e, q, r)
			require.NotEmpty(t, r.Words)
			require.Zero(t, r.Words[0].Sample)
			require.Zero(t, r.Words[0].Start-strings.IndexFunc(text, func(c rune) bool { return !strings.ContainsRune("¿¡“„« ", c) }))
			var heard []string
			for _, w := range r.Words {
				heard = append(heard, text[w.Start:w.End])
			}
			if strings.Contains(" ja zh ", " "+language+" ") {
				return // words are not set apart there
			}
			want := strings.FieldsFunc(strings.ReplaceAll(text, "$", "$ "), func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(",;!?“”…。،؟।¿", c) })
			for i := range want {
				want[i] = strings.TrimSuffix(want[i], ".")
			}
			require.Equal(t, want, heard)
		})
	}
}

func TestSentencesCoverTheText(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Rate: 24000})
	text := "  One sentence here. And another one! A third?  "
	r := one(t, e, engine.Request{Text: text})
	require.NoError(t, r.Err)
	var got []string
	for _, s := range r.Sentences {
		got = append(got, text[s.Start:s.End])
	}
	require.Equal(t, []string{"One sentence here.", "And another one!", "A third?"}, got)
	require.Equal(t, r.Words[0].Sample, r.Sentences[0].Sample)
	for _, s := range r.Sentences { // a sentence begins with its first word
		for _, w := range r.Words {
			if w.Start == s.Start {
				require.Equal(t, w.Sample, s.Sample)
			}
		}
	}
}

func TestAudioComesAtTheRateOfThePool(t *testing.T) {
	t.Parallel()
	q := engine.Request{Text: "One, two. Three!"}
	native := one(t, open(t, espeak.Config{Helpers: 1}), q)
	e := open(t, espeak.Config{Helpers: 1, Rate: 24000})
	r := one(t, e, q)
	enginetest.Good(t, e, q, r)
	require.Len(t, r.Audio.Samples, (len(native.Audio.Samples)*24000+22049)/22050)
	for i, w := range r.Words {
		require.Equal(t, native.Words[i].Sample*24000/22050, w.Sample)
	}
}

func TestSpeedChangesTheLength(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{})
	last := 1e9
	for _, speed := range []float64{0.5, 1, 1.5, 2.5} {
		r := one(t, e, engine.Request{Text: passage, Speed: speed})
		require.NoError(t, r.Err)
		require.Less(t, r.Audio.Seconds(), last)
		last = r.Audio.Seconds()
	}
	require.Equal(t, one(t, e, engine.Request{Text: passage}).Audio, one(t, e, engine.Request{Text: passage, Speed: 1, Seed: 9}).Audio)
}

func TestTextWithoutWordsIsAShortSilence(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Rate: 24000})
	for _, text := range []string{"…", "—", "\u200b", "\x01\x02", "\ue000"} {
		q := engine.Request{Text: text}
		r := one(t, e, q)
		enginetest.Good(t, e, q, r)
		require.LessOrEqualf(t, r.Audio.Seconds(), 3.0, "of %q", text)
	}
	r := one(t, e, engine.Request{Text: "…"})
	require.Equal(t, make([]int16, 4800), r.Audio.Samples)
}

func TestControlCharactersDoNotReachTheLibrary(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{})
	plain := one(t, e, engine.Request{Text: "Hello  good world"})
	// U+0001 would start a command, here: very fast; NUL would end the text.
	commanded := one(t, e, engine.Request{Text: "Hello \x01good world"})
	require.Equal(t, plain.Audio, commanded.Audio)
	nul := one(t, e, engine.Request{Text: "Hello \x00good world"})
	require.Equal(t, plain.Audio, nul.Audio)
}

func TestConfiguredVoices(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Voices: map[string]string{"anna": "de+f3", "narrator-en": "en", "broken": "xx-none"}})
	anna := one(t, e, engine.Request{Text: samples["de"], Voice: "anna"})
	require.NoError(t, anna.Err)
	require.NotEqual(t, anna.Audio, one(t, e, engine.Request{Text: samples["de"], Voice: "narrator-de"}).Audio)
	british := one(t, e, engine.Request{Text: passage, Voice: "narrator-en"})
	require.Equal(t, british.Audio, one(t, e, engine.Request{Text: passage, Voice: "narrator-en-gb"}).Audio)
	require.Error(t, one(t, e, engine.Request{Text: passage, Voice: "broken"}).Err)
	require.NoError(t, one(t, e, engine.Request{Text: passage}).Err)
}

func BenchmarkSynthesize(b *testing.B) {
	for _, helpers := range []int{1, 2} {
		for _, rate := range []int{22050, 24000} {
			b.Run(fmt.Sprintf("helpers=%d/rate=%d", helpers, rate), func(b *testing.B) {
				e := open(b, espeak.Config{Helpers: helpers, Rate: rate})
				batch := make([]engine.Request, 8)
				for i := range batch {
					batch[i] = engine.Request{Text: passage + enginetest.Sentence(i)}
				}
				seconds := 0.0
				b.ReportAllocs()
				for b.Loop() {
					results, err := e.Synthesize(b.Context(), batch)
					require.NoError(b, err)
					for _, r := range results {
						require.NoError(b, r.Err)
						seconds += r.Audio.Seconds()
					}
				}
				b.ReportMetric(seconds/b.Elapsed().Seconds(), "x-realtime")
			})
		}
	}
}

func TestPronunciationIsHeard(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{})
	text := "Mr Nguyen reads."
	plain := one(t, e, engine.Request{Text: text})
	q := engine.Request{Text: text, Pronunciations: []engine.Pronunciation{{Start: 3, End: 9, Alphabet: "ipa", Phonemes: "wɪn"}}}
	said := one(t, e, q)
	enginetest.Good(t, e, q, said)
	require.NotEqual(t, plain.Audio, said.Audio)
	require.Less(t, said.Audio.Seconds(), plain.Audio.Seconds()+0.1)
	var words []string
	for _, w := range said.Words {
		words = append(words, text[w.Start:w.End])
	}
	require.Equal(t, []string{"Mr", "Nguyen", "reads"}, words)
	q.Pronunciations[0].Phonemes = "no such ʘ"
	require.Equal(t, plain.Audio, one(t, e, q).Audio)
}

func TestRandomTextsDoNotEndTheHelper(t *testing.T) {
	t.Parallel()
	e := open(t, espeak.Config{Helpers: 1})
	helper := one(t, e, engine.Request{Text: "a"}).Backend
	voices := espeak.Voices()
	rapid.Check(t, func(t *rapid.T) {
		q := engine.Request{
			Text:  "a " + rapid.StringN(0, 200, 800).Draw(t, "text"),
			Voice: rapid.SampledFrom(voices).Draw(t, "voice").Name,
			Speed: rapid.Float64Range(engine.MinSpeed, engine.MaxSpeed).Draw(t, "speed"),
		}
		results, err := e.Synthesize(context.Background(), []engine.Request{q})
		if err != nil {
			t.Fatal(err)
		}
		// To say nothing of odd letters is the library's right, to die is not.
		if results[0].Backend != helper {
			t.Fatalf("%q: %v", q.Text, results[0].Err)
		}
	})
}
