package espeak

import (
	"maps"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// DefaultVoice speaks a request that names neither voice nor language.
const DefaultVoice = "narrator-en"

// narrators maps the language of each public voice to espeak-ng's voice. The
// voice is called narrator- and the language in lower case.
var narrators = []struct{ language, voice string }{
	{"en", "en-us"},
	{"en-GB", "en"},
	{"de", "de"},
	{"fr", "fr"},
	{"fr-BE", "fr-be"},
	{"fr-CH", "fr-ch"},
	{"es", "es"},
	{"es-419", "es-419"},
	{"it", "it"},
	{"pt", "pt"},
	{"pt-BR", "pt-br"},
	{"nl", "nl"},
	{"pl", "pl"},
	{"ru", "ru"},
	{"uk", "uk"},
	{"be", "be"},
	{"bg", "bg"},
	{"sr", "sr"},
	{"hr", "hr"},
	{"sl", "sl"},
	{"bs", "bs"},
	{"mk", "mk"},
	{"cs", "cs"},
	{"sk", "sk"},
	{"hu", "hu"},
	{"ro", "ro"},
	{"sq", "sq"},
	{"el", "el"},
	{"grc", "grc"},
	{"sv", "sv"},
	{"da", "da"},
	{"nb", "nb"},
	{"fi", "fi"},
	{"is", "is"},
	{"et", "et"},
	{"lv", "lv"},
	{"lt", "lt"},
	{"ca", "ca"},
	{"eu", "eu"},
	{"ga", "ga"},
	{"cy", "cy"},
	{"lb", "lb"},
	{"mt", "mt"},
	{"la", "la"},
	{"eo", "eo"},
	{"tr", "tr"},
	{"az", "az"},
	{"kk", "kk"},
	{"ka", "ka"},
	{"hy", "hy"},
	{"ar", "ar"},
	{"fa", "fa"},
	{"ur", "ur"},
	{"hi", "hi"},
	{"bn", "bn"},
	{"ta", "ta"},
	{"te", "te"},
	{"mr", "mr"},
	{"gu", "gu"},
	{"kn", "kn"},
	{"ml", "ml"},
	{"pa", "pa"},
	{"ne", "ne"},
	{"si", "si"},
	{"ja", "ja"},
	{"zh", "cmn"},
	{"yue", "yue"},
	{"ko", "ko"},
	{"vi", "vi"},
	{"th", "th"},
	{"id", "id"},
	{"ms", "ms"},
	{"sw", "sw"},
	{"af", "af"},
	{"am", "am"},
}

// Voices lists the public voices that every [Engine] of this package has,
// [DefaultVoice] first.
func Voices() []engine.Voice {
	voices := make([]engine.Voice, len(narrators))
	for i, n := range narrators {
		voices[i] = engine.Voice{Name: "narrator-" + strings.ToLower(n.language), Language: n.language, Fingerprint: n.voice}
	}
	return voices
}

// voices returns the public voices with the configured ones, and espeak-ng's
// name for each. A configured name replaces a public one.
func (c Config) voices() (public []engine.Voice, native map[string]string) {
	public = Voices()
	native = make(map[string]string, len(public)+len(c.Voices))
	for i, v := range public {
		native[v.Name] = narrators[i].voice
	}
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		voice := c.Voices[name]
		language, _, _ := strings.Cut(voice, "+") // de+f3 is a variant of de
		public = slices.DeleteFunc(public, func(v engine.Voice) bool { return v.Name == name })
		public = append(public, engine.Voice{Name: name, Language: language, Fingerprint: voice})
		native[name] = voice
	}
	return public, native
}
