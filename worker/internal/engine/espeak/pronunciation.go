package espeak

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// The names that the library has for sounds, by the symbols of the two
// alphabets. Names that several symbols share are the closest there is.
var (
	ipaSymbols = map[string]string{
		"p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "ɡ": "g", "g": "g",
		"f": "f", "v": "v", "s": "s", "z": "z", "m": "m", "n": "n", "l": "l", "h": "h", "j": "j", "w": "w",
		"r": "r", "ɹ": "r", "ɾ": "r", "ʁ": "R", "ʃ": "S", "ʒ": "Z", "θ": "T", "ð": "D", "ŋ": "N",
		"x": "x", "ç": "C", "c\u0327": "C", "ɲ": "n^", "ʎ": "l^", "β": "B",
		"tʃ": "tS", "ʧ": "tS", "dʒ": "dZ", "ʤ": "dZ", "ts": "ts", "dz": "dz",

		"a": "a", "æ": "a", "e": "e", "i": "i", "o": "o", "u": "u", "y": "y", "ø": "Y", "œ": "W",
		"ɛ": "E", "ɔ": "O", "ə": "@", "ɪ": "I", "ʊ": "U", "ʌ": "V", "ɒ": "0", "ɑ": "A:", "ɜ": "3:", "ɝ": "3:",
		"aː": "a:", "eː": "e:", "iː": "i:", "oː": "o:", "uː": "u:", "ɑː": "A:", "ɜː": "3:", "øː": "Y:", "œː": "W:", "yː": "y:",
		"aɪ": "aI", "aʊ": "aU", "eɪ": "eI", "ɔɪ": "OI",
		"ɑ\u0303": "A~", "ɛ\u0303": "E~", "ɔ\u0303": "O~",

		"ˈ": "'", "ˌ": ",", ".": "", "\u0361": "", "\u035c": "",
	}
	xsampaSymbols = map[string]string{
		"p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "g": "g",
		"f": "f", "v": "v", "s": "s", "z": "z", "m": "m", "n": "n", "l": "l", "h": "h", "j": "j", "w": "w",
		"r": "r", `r\`: "r", "4": "r", "R": "R", "S": "S", "Z": "Z", "T": "T", "D": "D", "N": "N",
		"x": "x", "C": "C", "J": "n^", "L": "l^", "B": "B",
		"tS": "tS", "dZ": "dZ", "ts": "ts", "dz": "dz",

		"a": "a", "{": "a", "e": "e", "i": "i", "o": "o", "u": "u", "y": "y", "2": "Y", "9": "W",
		"E": "E", "O": "O", "@": "@", "I": "I", "U": "U", "V": "V", "Q": "0", "A": "A:", "3": "3:",
		"a:": "a:", "e:": "e:", "i:": "i:", "o:": "o:", "u:": "u:", "A:": "A:", "3:": "3:", "2:": "Y:", "9:": "W:", "y:": "y:",
		"aI": "aI", "aU": "aU", "eI": "eI", "OI": "OI",
		"A~": "A~", "E~": "E~", "O~": "O~", "A_~": "A~", "E_~": "E~", "O_~": "O~",

		`"`: "'", "%": ",", ".": "", "-": "", "_": "",
	}

	// missingNames lists, for each language in which the library's phonemes were
	// tried, the names that it does not have there and would leave out.
	missingNames = map[string]string{
		"en": "y Y W Y: W: E~", "de": "V 0 Y E~", "fr": "U A: 3: 0",
		"es": "I V A: 3: 0 W W: A~ E~ O~", "it": "V A: 3: 0 W W: A~ E~ O~", "pt": "V 3: 0 W W: E~ O~ A~",
		"nl": "U V 3: Y W W: E~", "pl": "I U V A: 3: 0 Y W Y: W: A~",
		"ru": "U 3: 0 W W: A~ E~ O~", "uk": "U 3: 0 W W: A~ E~ O~", "tr": "V A: 3: 0 A~ E~ O~",
		"sv": "V 3: 0 Y A~ E~ O~", "fi": "E O OI V A: 3: 0 W W: A~ E~ O~", "cs": "I U V A: 3: 0 Y W Y: W: A~",
		"el": "I V A: 3: 0 W W: A~ E~ O~", "hu": "O OI I U V 3: 0 W W: A~ E~ O~", "ro": "I V A: 3: 0 W W: A~ E~ O~",
	}
)

const longestSymbol = 3 // characters

// convertible returns the pronunciations of which every symbol has a name in
// the library, with that as Phonemes. language is the voice's.
func convertible(all []engine.Pronunciation, language string) []engine.Pronunciation {
	base, _, _ := strings.Cut(language, "-")
	missing, known := missingNames[base]
	if !known {
		return nil
	}
	var kept []engine.Pronunciation
	for _, p := range all {
		names, ok := phonemes(p, strings.Fields(missing))
		if ok {
			p.Phonemes = names
			kept = append(kept, p)
		}
	}
	return kept
}

// phonemes translates p. A stress mark moves in front of the next vowel, where
// the library expects it.
func phonemes(p engine.Pronunciation, missing []string) (names string, ok bool) {
	table := ipaSymbols
	switch p.Alphabet {
	case "ipa":
	case "x-sampa":
		table = xsampaSymbols
	default:
		return "", false
	}
	var b strings.Builder
	stress := ""
	for rest := p.Phonemes; rest != ""; {
		name, size := symbol(table, rest)
		if size == 0 || slices.Contains(missing, name) {
			return "", false
		}
		rest = rest[size:]
		switch {
		case name == "'" || name == ",":
			stress = name
			continue
		case strings.ContainsAny(name[:min(len(name), 1)], "aeiouyYWEO@IUV0A3"):
			b.WriteString(stress)
			stress = ""
		}
		b.WriteString(name)
	}
	return b.String(), b.Len() > 0 && stress == ""
}

// symbol finds the longest symbol that s begins with; size is 0 if there is
// none.
func symbol(table map[string]string, s string) (name string, size int) {
	end := 0
	for range longestSymbol {
		if end == len(s) {
			break
		}
		_, n := utf8.DecodeRuneInString(s[end:])
		end += n
		if found, ok := table[s[:end]]; ok {
			name, size = found, end
		}
	}
	return name, size
}
