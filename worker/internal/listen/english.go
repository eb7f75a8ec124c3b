package listen

import (
	"regexp"
	"strings"
)

// english returns the tokens of English words: numbers in words or Roman digits
// become digits, abbreviations and contractions are written out, and of spellings
// that differ between countries one is taken for all.
func english(words []word) []Token {
	tokens := make([]Token, 0, len(words))
	previous := ""
	for i, w := range words {
		if sign, ok := signs[strings.TrimSpace(w.before)]; ok && !digits(fold(w.text)) {
			tokens = append(tokens, Token{Text: sign})
		}
		if n, ok := roman(w.text, previous); ok {
			previous = n
			tokens = append(tokens, Token{Text: n})
			continue
		}
		numberNext := i+1 < len(words) && digits(fold(words[i+1].text))
		for _, s := range spell(w, numberNext) {
			tokens = append(tokens, Token{Text: s, Name: w.name})
			previous = s
		}
		if unit, ok := units[lastRune(w.before)]; ok { // $5 is said five dollars
			tokens = append(tokens, Token{Text: unit})
		}
		if unit, ok := units[w.after]; ok && (w.after == '%' || w.after == '°') {
			tokens = append(tokens, Token{Text: unit})
		}
	}
	return numbers(tokens)
}

var signs = map[string]string{"&": "and", "+": "plus", "=": "equals", "@": "at"}

var units = map[rune]string{'$': "dollars", '£': "pounds", '€': "euros", '%': "percent", '°': "degrees"}

func lastRune(s string) rune {
	var last rune
	for _, r := range s {
		last = r
	}
	return last
}

// spell returns the words that w is said as.
func spell(w word, numberNext bool) []string {
	text := strings.ReplaceAll(strings.ToLower(w.text), "’", "'")
	if m := ordinal.FindStringSubmatch(text); m != nil {
		return []string{m[1]}
	}
	if said, ok := contractions[text]; ok {
		return strings.Fields(said)
	}
	for _, c := range endings {
		if stem, ok := strings.CutSuffix(text, c.written); ok && stem != "" {
			return append([]string{variant(fold(stem))}, c.said)
		}
	}
	s := fold(text)
	if said, ok := abbreviations[s]; ok {
		return []string{said}
	}
	if said, ok := beforeNumbers[s]; ok && numberNext {
		return []string{said}
	}
	if s == "" {
		return nil
	}
	return []string{variant(s)}
}

var ordinal = regexp.MustCompile(`^(\d+)(st|nd|rd|th)$`)

var contractions = map[string]string{
	"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us", "'tis": "it is", "gonna": "going to", "wanna": "want to",
}

var endings = []struct{ written, said string }{
	{"n't", "not"}, {"'re", "are"}, {"'ve", "have"}, {"'ll", "will"}, {"'m", "am"},
}

var abbreviations = map[string]string{
	"mr": "mister", "mrs": "missus", "dr": "doctor", "prof": "professor", "capt": "captain", "col": "colonel", "lt": "lieutenant", "sgt": "sergeant",
	"gen": "general", "jr": "junior", "sr": "senior", "st": "saint", "vs": "versus", "okay": "ok", "mt": "mount", "rev": "reverend", "hon": "honourable",
}

// beforeNumbers are abbreviations only there: "No." alone is an answer.
var beforeNumbers = map[string]string{"no": "number", "ch": "chapter", "p": "page", "pp": "pages", "vol": "volume", "fig": "figure"}

// variant takes one spelling for all of a word. What it makes of other words does not
// matter, since both sides go through it.
func variant(s string) string {
	if len(s) < 5 {
		if s == "grey" {
			return "gray"
		}
		return s
	}
	for _, v := range variants {
		if stem, ok := strings.CutSuffix(s, v.from); ok && len(stem) > 1 {
			s = stem + v.to
			break
		}
	}
	s = strings.NewReplacer("our", "or", "ae", "e", "oe", "e").Replace(s)
	return doubled.ReplaceAllString(s, "l$1")
}

var variants = []struct{ from, to string }{
	{"ise", "ize"},
	{"ised", "ized"},
	{"ising", "izing"},
	{"isation", "ization"},
	{"yse", "yze"},
	{"ysed", "yzed"},
	{"ogue", "og"},
	{"tre", "ter"},
	{"bre", "ber"},
	{"ence", "ense"},
	{"wards", "ward"},
}

var doubled = regexp.MustCompile(`ll(ed|er|ers|ing|or|ors|y)?$`)

// roman reads Roman digits: of two letters or more anywhere, of one behind the
// words that books number.
func roman(text, previous string) (string, bool) {
	if len(text) > 8 || strings.Trim(text, "IVXL") != "" || (len(text) < 2 && !numbered[previous]) {
		return "", false
	}
	values := map[byte]int{'I': 1, 'V': 5, 'X': 10, 'L': 50}
	sum := 0
	for i := range len(text) {
		v := values[text[i]]
		if i+1 < len(text) && v < values[text[i+1]] {
			v = -v
		}
		sum += v
	}
	if sum < 1 {
		return "", false
	}
	return itoa(sum), true
}

var numbered = map[string]bool{
	"chapter": true, "part": true, "book": true, "act": true, "scene": true, "volume": true, "canto": true, "section": true, "letter": true,
}
