package neural

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/phoneme"
)

// script is a text as the helper gets it: its sentences, and where each is in the
// source.
type script struct {
	sentences []ask.Sentence
	ranges    []span // bytes of the source, one for each sentence
}

type span struct{ start, end int }

// composer cuts a text into sentences and clauses.
type composer struct {
	r      *engine.Request
	script script

	start  int // of the sentence
	begun  int // of the piece of text that is not in clause yet
	clause ask.Clause
	now    ask.Sentence
}

// compose makes a script of r.
func compose(r *engine.Request) script {
	c := composer{r: r}
	sounds := readable(r.Pronunciations)
	for at := 0; at < len(r.Text); {
		if len(sounds) > 0 && sounds[0].Start == at {
			c.text(at)
			c.clause.Pieces = append(c.clause.Pieces, ask.Piece{IPA: sounds[0].Phonemes})
			at = sounds[0].End
			c.begun, sounds = at, sounds[1:]
			continue
		}
		char, size := utf8.DecodeRuneInString(r.Text[at:])
		switch mark, kind := punctuation(r.Text, at, char); kind {
		case endsClause:
			c.text(at)
			c.endClause(mark)
			c.begun = at + size
		case endsSentence:
			end := behind(r.Text, at+size)
			c.text(at)
			c.endClause(mark)
			c.endSentence(end)
			at, size = end, 0
		case within:
		}
		at += size
	}
	c.text(len(r.Text))
	c.endClause("")
	c.endSentence(len(r.Text))
	return c.script
}

// readable returns the pronunciations in IPA of which the alphabet is known.
func readable(all []engine.Pronunciation) []engine.Pronunciation {
	var kept []engine.Pronunciation
	for _, p := range all {
		ok := p.Alphabet == "ipa"
		if p.Alphabet == "x-sampa" {
			p.Phonemes, ok = phoneme.FromXSampa(p.Phonemes)
		}
		if ok && strings.TrimSpace(p.Phonemes) != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// text adds what was read since the last piece to the clause.
func (c *composer) text(until int) {
	if until <= c.begun {
		return
	}
	text := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Co, unicode.Noncharacter_Code_Point) {
			return ' ' // espeak-ng takes some of them for commands
		}
		return r
	}, c.r.Text[c.begun:until])
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsPunct(r) }) {
		c.clause.Pieces = append(c.clause.Pieces, ask.Piece{Text: text})
	}
	c.begun = until
}

func (c *composer) endClause(mark string) {
	if len(c.clause.Pieces) > 0 {
		c.clause.End = mark
		c.now.Clauses = append(c.now.Clauses, c.clause)
	}
	c.clause = ask.Clause{}
}

func (c *composer) endSentence(end int) {
	if len(c.now.Clauses) > 0 {
		c.script.sentences = append(c.script.sentences, c.now)
		c.script.ranges = append(c.script.ranges, span{c.start, end})
	}
	c.now, c.start, c.begun = ask.Sentence{}, end, end
}

type ending int

const (
	within ending = iota
	endsClause
	endsSentence
)

// punctuation says what the character at of text ends, and as which mark a model
// gets to see it.
func punctuation(text string, at int, char rune) (mark string, kind ending) {
	next := behind(text, at+utf8.RuneLen(char))
	open := next == len(text) || unicode.IsSpace(first(text[next:]))
	switch char {
	case '。':
		return ".", endsSentence
	case '！':
		return "!", endsSentence
	case '？':
		return "?", endsSentence
	case '，', '、':
		return ",", endsClause
	case '；':
		return ";", endsClause
	case '：':
		return ":", endsClause
	case '—', '…':
		return string(char), endsClause
	}
	if !open {
		return "", within
	}
	switch char {
	case '.':
		if abbreviated(text[:at], text[next:]) {
			return "", within
		}
		return ".", endsSentence
	case '!', '?':
		return string(char), endsSentence
	case ',', ';', ':':
		return string(char), endsClause
	case '–':
		return "—", endsClause
	}
	return "", within
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// behind returns the place after the quotes and brackets that close at of text.
func behind(text string, at int) int {
	for at < len(text) {
		r, size := utf8.DecodeRuneInString(text[at:])
		if r != '"' && r != '\'' && !unicode.In(r, unicode.Pe, unicode.Pf) {
			break
		}
		at += size
	}
	return at
}

// titles are abbreviations before a name, where a full stop ends nothing.
var titles = []string{
	"mr", "mrs", "ms", "dr", "st", "prof", "sr", "sra", "jr", "capt", "col", "gen", "lt", "sgt", "rev", "hon", "messrs", "mme", "mlle", "hr", "fr", "vol", "no", "vs",
}

// abbreviated reports whether the full stop between before and after is one of an
// abbreviation or an initial.
func abbreviated(before, after string) bool {
	word := before[strings.LastIndexFunc(before, func(r rune) bool { return !unicode.IsLetter(r) })+1:]
	next := first(strings.TrimLeftFunc(after, unicode.IsSpace))
	switch {
	case strings.TrimSpace(after) == "":
		return false
	case word != "" && strings.HasSuffix(before[:len(before)-len(word)], "."): // e.g.
		return true
	case unicode.IsLower(next):
		return true
	case utf8.RuneCountInString(word) == 1 && unicode.IsUpper(first(word)) && word != "I":
		return true
	}
	return slices.Contains(titles, strings.ToLower(word))
}
