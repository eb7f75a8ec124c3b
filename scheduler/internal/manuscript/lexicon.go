package manuscript

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/unicode/norm"
)

// lexeme is how a lexicon says that words are pronounced.
type lexeme struct {
	words string // as written
	say   Pronunciation
}

// lexicon is a pronunciation lexicon (PLS 1.0): lexemes by their first word,
// the longest first.
type lexicon struct {
	lang    string // primary subtag; empty for every language
	byFirst map[string][]lexeme
}

// lexicons are those that apply to a text; earlier ones win.
type lexicons []*lexicon

const (
	mostLexemes  = 100_000
	longestWords = 200 // bytes of a grapheme, a phoneme or an alias
	mostAlike    = 256 // graphemes that begin with the same word
)

// readLexicon reads a PLS document.
func readLexicon(text []byte, name string) (*lexicon, error) {
	lex := &lexicon{byFirst: map[string][]lexeme{}}
	dec := xml.NewDecoder(strings.NewReader(string(text)))
	dec.Strict, dec.Entity, dec.CharsetReader = false, xml.HTMLEntity, charset.NewReaderLabel
	var (
		alphabet  = "ipa"
		graphemes []string
		say       Pronunciation
		field     strings.Builder
		count     int
	)
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			lex.sort()
			return lex, nil
		}
		if err != nil {
			return nil, invalid("the pronunciation lexicon %s is not readable XML", shown(name))
		}
		switch t := token.(type) {
		case xml.StartElement:
			field.Reset()
			switch t.Name.Local {
			case "lexicon":
				alphabet, lex.lang = attr(t, "alphabet", alphabet), primary(attr(t, "lang", ""))
			case "lexeme":
				graphemes, say = nil, Pronunciation{}
			case "phoneme":
				if say == (Pronunciation{}) {
					say.Alphabet = attr(t, "alphabet", alphabet)
				}
			}
		case xml.CharData:
			if field.Len() <= longestWords {
				field.Write(t)
			}
		case xml.EndElement:
			value := norm.NFC.String(strings.Join(strings.Fields(field.String()), " "))
			field.Reset()
			if len(value) > longestWords {
				value = ""
			}
			switch t.Name.Local {
			case "grapheme":
				graphemes = append(graphemes, value)
			case "phoneme":
				if say.Phonemes == "" && say.Alias == "" {
					say.Phonemes = value
				}
			case "alias":
				if say.Phonemes == "" && say.Alias == "" {
					say.Alias = value
				}
			case "lexeme":
				if count += len(graphemes); count > mostLexemes {
					return nil, tooLarge("the pronunciation lexicon %s has more than %d entries", shown(name), mostLexemes)
				}
				lex.add(graphemes, say)
			}
		}
	}
}

// attr returns the attribute of t with that local name, or fallback.
func attr(t xml.StartElement, local, fallback string) string {
	for _, a := range t.Attr {
		if a.Name.Local == local {
			return a.Value
		}
	}
	return fallback
}

func (l *lexicon) add(graphemes []string, say Pronunciation) {
	if say.Phonemes == "" && say.Alias == "" {
		return
	}
	if say.Phonemes == "" {
		say.Alphabet = ""
	}
	for _, words := range graphemes {
		if start, end := wordAt(words, 0); start == 0 && end > 0 && len(l.byFirst[words[:end]]) < mostAlike {
			l.byFirst[words[:end]] = append(l.byFirst[words[:end]], lexeme{words, say})
		}
	}
}

func (l *lexicon) sort() {
	for _, list := range l.byFirst {
		slices.SortStableFunc(list, func(a, b lexeme) int { return len(b.words) - len(a.words) })
	}
}

// apply returns the pronunciations of s, those that it has already included: an
// attribute in the text wins over a lexicon.
func (ls lexicons) apply(s Segment, lang string) []Pronunciation {
	if len(ls) == 0 {
		return s.Pronunciations
	}
	given, all := s.Pronunciations, []Pronunciation(nil)
	for at := 0; at < len(s.Text); {
		if len(given) > 0 && given[0].End <= at {
			given = given[1:]
			continue
		}
		start, end := wordAt(s.Text, at)
		if len(given) > 0 && (end > given[0].Start || start == end) {
			all = append(all, given[0])
			at, given = max(at, given[0].End), given[1:]
			continue
		}
		if start == end {
			break
		}
		at = end
		if say, ok := ls.find(s.Text, start, end, lang); ok && (len(given) == 0 || say.End <= given[0].Start) {
			all = append(all, say)
			at = say.End
		}
	}
	return append(all, given...)
}

// find returns how the words of text from the one at [start:end) on are said.
func (ls lexicons) find(text string, start, end int, lang string) (Pronunciation, bool) {
	for _, l := range ls {
		if l.lang != "" && l.lang != primary(lang) {
			continue
		}
		for _, x := range l.byFirst[text[start:end]] {
			if strings.HasPrefix(text[start:], x.words) && wholeWord(text[start+len(x.words):], x.words) {
				say := x.say
				say.Start, say.End = start, start+len(x.words)
				return say, true
			}
		}
	}
	return Pronunciation{}, false
}

// wholeWord reports whether no word goes on from words into rest.
func wholeWord(rest, words string) bool {
	last, _ := utf8.DecodeLastRuneInString(words)
	next, _ := utf8.DecodeRuneInString(rest)
	return !wordRune(last) || !wordRune(next)
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// wordAt returns the first run of letters, digits and marks of text from at on.
func wordAt(text string, at int) (start, end int) {
	start = -1
	for i, r := range text[at:] {
		switch {
		case wordRune(r) && start < 0:
			start = at + i
		case !wordRune(r) && start >= 0:
			return start, at + i
		}
	}
	if start < 0 {
		return len(text), len(text)
	}
	return start, len(text)
}
