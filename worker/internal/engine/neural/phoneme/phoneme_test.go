package phoneme_test

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine/neural/phoneme"
)

func TestSpell(t *testing.T) {
	t.Parallel()
	for ipa, c := range map[string]struct {
		language string
		style    phoneme.Style
		want     string
	}{
		"ha^ɪ ðɛɹ":            {"en-us", phoneme.Plain, "haɪ ðɛɹ"},
		"(de)ɪç(en)  ˈɪt^s\n": {"en-us", phoneme.Plain, "ɪc\u0327 ˈɪts"},
		"ha^ɪ d^ʒˈo^ʊ bˈɜːd":  {"en-us", phoneme.Kokoro, "hI ʤˈO bˈɜɹd"},
		"ˈbʌʔn\u0329":         {"en-us", phoneme.Kokoro, "ˈbʌtn"},
		"d^ʒˈə^ʊ θˈe^ə":       {"en-gb", phoneme.Kokoro, "ʤˈQ θˈɛː"},
		"t^ʃˈaːt^s":           {"it", phoneme.Kokoro, "ʧˈaːʦ"},
	} {
		require.Equal(t, c.want, phoneme.Spell(ipa, c.language, c.style), ipa)
	}
}

func TestWrittenPronunciationsAreSpelledLikeEspeaks(t *testing.T) {
	t.Parallel()
	require.Equal(t, "ʃɪˈvɔn", phoneme.Spell(phoneme.FromIPA("ʃɪ.ˈvɔn"), "en-us", phoneme.Plain))
	require.Equal(t, "dʒˈɡoʊ", phoneme.Spell(phoneme.FromIPA("d͡ʒ'goʊ"), "en-us", phoneme.Plain))
	require.Equal(t, "ʤˈO", phoneme.Spell(phoneme.FromIPA("d͡ʒˈoʊ"), "en-us", phoneme.Kokoro))
	ipa, ok := phoneme.FromXSampa(`"dZo:k@`)
	require.True(t, ok)
	require.Equal(t, "ˈdʒoːkə", ipa)
	_, ok = phoneme.FromXSampa("dZ§")
	require.False(t, ok)
}

func FuzzSpell(f *testing.F) {
	f.Add("ha^ɪ (en)ðɛɹ", "en-us")
	f.Add("\xff^^^", "fr")
	f.Fuzz(func(t *testing.T, ipa, language string) {
		for _, style := range []phoneme.Style{phoneme.Plain, phoneme.Kokoro} {
			got := phoneme.Spell(phoneme.FromIPA(ipa), language, style)
			if utf8.ValidString(ipa) && !utf8.ValidString(got) {
				t.Errorf("Spell(%q) = %q", ipa, got)
			}
		}
		phoneme.FromXSampa(ipa)
	})
}
