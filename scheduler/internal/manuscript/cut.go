package manuscript

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// cutter cuts passages into segments. A passage that is short enough is one
// segment; a longer one is cut between sentences so that the pieces are near
// the aim and near each other; a sentence beyond the cap is cut at clauses,
// then between words, and a word beyond the cap between characters.
type cutter struct {
	opts     Options
	lang     string // of the document, as the request or the document says
	declared string // of the document, as it says itself
	capped   float64
	aim      float64 // seconds a segment should have
	enough   float64 // seconds up to which a passage is not cut
	meters   map[string]meter
	lexicons lexicons

	atoms []atomicCut
	ends  []int
	best  []choice
}

// The aim and the largest uncut passage, as parts of the cap: 12 s and 15 s of 18 s.
const (
	aimPart    = 12.0 / 18
	enoughPart = 15.0 / 18
)

// clauseCost is what a cut inside a sentence costs, in squared seconds off the aim.
const clauseCost = 40

// atomicCut is a part of a passage that is not cut further.
type atomicCut struct {
	start, end int
	seconds    float64
	lang       string
	after      Break
	mute       bool // nothing in it is pronounced
}

// choice is the best way to end a segment at an atom.
type choice struct {
	cost float64
	from int
}

func newCutter(opts Options, lang, declared string) *cutter {
	limit := opts.MaxSegmentSeconds
	return &cutter{opts: opts, lang: lang, declared: declared, capped: limit, aim: limit * aimPart, enough: limit * enoughPart, meters: map[string]meter{}}
}

// foreign returns lang if it is another language than the document's, else "".
// The document's own tag stands for the requested one, and a tag without a
// region for any region.
func (c *cutter) foreign(lang string) string {
	if lang == "" || within(lang, c.declared) || within(lang, c.lang) {
		return ""
	}
	return lang
}

// within reports whether one of two tags is the other or begins it.
func within(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) > 0 && strings.EqualFold(a, b[:len(a)]) && (len(a) == len(b) || b[len(a)] == '-' || b[len(a)] == '_')
}

func (c *cutter) meter(lang string) meter {
	if lang == "" {
		lang = c.lang
	}
	m, ok := c.meters[lang]
	if !ok {
		m = newMeter(lang, c.opts.CharsPerSecond)
		c.meters[lang] = m
	}
	return m
}

// cut appends the segments of p.
func (c *cutter) cut(p *passage, to []Segment) []Segment {
	text := string(p.text)
	if len(p.langs) == 1 {
		lang := c.foreign(p.langs[0].lang)
		if s := c.meter(lang).weigh(text) + leadSeconds; s <= min(c.enough, c.capped) {
			return append(to, c.segment(p, text, atomicCut{end: len(text), seconds: s - leadSeconds, lang: lang, after: BreakParagraph}))
		}
	}
	c.divide(p, text)
	c.pack()
	first := len(to)
	for i := len(c.atoms); i > 0; {
		from := c.best[i].from
		a := c.atoms[from]
		for _, b := range c.atoms[from+1 : i] {
			a.end, a.after = b.end, b.after
			a.seconds += b.seconds
		}
		if speakable(text[a.start:a.end]) {
			to = append(to, c.segment(p, text, a))
		}
		i = from
	}
	if first < len(to) {
		to[first].Break = BreakParagraph
	}
	for i, k := first, len(to)-1; i < k; i, k = i+1, k-1 {
		to[i], to[k] = to[k], to[i]
	}
	return to
}

// segment makes the segment of text[a.start:a.end].
func (c *cutter) segment(p *passage, text string, a atomicCut) Segment {
	for a.start < a.end && text[a.start] == ' ' {
		a.start++
	}
	for a.end > a.start && text[a.end-1] == ' ' {
		a.end--
	}
	s := Segment{
		Text: text[a.start:a.end], Source: p.span(a.start, a.end), Break: a.after,
		Heading: p.level > 0, Seconds: a.seconds + leadSeconds,
	}
	lang := c.lang
	if a.lang != "" {
		s.Language, lang = a.lang, a.lang
	}
	for _, say := range p.says[p.sayAfter(a.start):] {
		if say.Start >= a.end {
			break
		}
		if say.Start >= a.start && say.End <= a.end {
			say.Start, say.End = say.Start-a.start, say.End-a.start
			s.Pronunciations = append(s.Pronunciations, say)
		}
	}
	s.Pronunciations = c.lexicons.apply(s, lang)
	return s
}

// divide fills c.atoms with the sentences of text, and the pieces of those that
// are too long.
func (c *cutter) divide(p *passage, text string) {
	c.atoms = c.atoms[:0]
	lang := c.lang
	if foreign := c.foreign(p.langs[0].lang); len(p.langs) == 1 && foreign != "" {
		lang = foreign
	}
	c.ends = sentenceEnds(text, lang, c.ends[:0])
	start := 0
	for _, end := range c.ends {
		if end < len(text) && pronounced(p, end) {
			continue
		}
		a := atomicCut{start: start, end: end, lang: c.foreign(p.language(start, end)), after: BreakSentence}
		a.seconds = c.meter(a.lang).weigh(text[start:end])
		start = end
		if a.seconds+leadSeconds > c.capped {
			c.clauses(p, text, a)
			continue
		}
		c.push(text, a)
	}
}

// push appends a, or joins it to the atom before if nothing in it is spoken.
func (c *cutter) push(text string, a atomicCut) {
	a.mute = !speakable(text[a.start:a.end])
	k := len(c.atoms) - 1
	switch {
	case k >= 0 && c.atoms[k].mute && c.atoms[k].seconds+a.seconds+leadSeconds <= c.capped:
		a.start, a.seconds = c.atoms[k].start, a.seconds+c.atoms[k].seconds
		c.atoms[k] = a
	case k >= 0 && a.mute && c.atoms[k].seconds+a.seconds+leadSeconds <= c.capped:
		c.atoms[k].end, c.atoms[k].after = a.end, a.after
		c.atoms[k].seconds += a.seconds
	default:
		c.atoms = append(c.atoms, a)
	}
}

// pronounced reports whether a cut at at would divide words that the author
// gave one pronunciation.
func pronounced(p *passage, at int) bool {
	i := p.sayAfter(at)
	return i < len(p.says) && p.says[i].Start < at
}

// clauses pushes the parts of the sentence a, which is too long.
func (c *cutter) clauses(p *passage, text string, a atomicCut) {
	m := c.meter(a.lang)
	line := 0
	start := a.start
	piece := func(end int) {
		b := atomicCut{start: start, end: end, lang: a.lang, after: BreakNone}
		if end == a.end {
			b.after = a.after
		}
		b.seconds = m.weigh(text[start:end])
		start = end
		if b.seconds+leadSeconds > c.capped {
			c.words(p, text, b, m)
			return
		}
		c.push(text, b)
	}
	for i := a.start; i < a.end; {
		r, n := utf8.DecodeRuneInString(text[i:a.end])
		i += n
		for line < len(p.lines) && p.lines[line] < i {
			line++
		}
		ends := line < len(p.lines) && p.lines[line] == i || clauseEnd(r, text[i:a.end])
		if ends && i < a.end && !pronounced(p, i) {
			piece(i)
		}
	}
	piece(a.end)
}

// clauseEnd reports whether a clause ends with r, which rest follows.
func clauseEnd(r rune, rest string) bool {
	switch r {
	case '、', '，', '；', '：', '」', '』', '）':
		next, _ := utf8.DecodeRuneInString(rest)
		return !unicode.IsPunct(next)
	case ',', ';', ':', '—', '–', ')', ']', '،', '؛', '»', '”':
		return strings.HasPrefix(rest, " ")
	}
	return false
}

// words pushes the parts of a, a clause that is too long: runs of words of
// about equal length. Where no space is near, it is cut between characters.
func (c *cutter) words(p *passage, text string, a atomicCut, m meter) {
	room := c.capped - leadSeconds
	parts := math.Ceil(a.seconds / (room * enoughPart))
	target := a.seconds / parts
	start, after := a.start, a.after
	emit := func(end int, seconds float64) {
		b := atomicCut{start: start, end: end, lang: a.lang, seconds: seconds, after: BreakNone}
		if end == a.end {
			b.after = after
		}
		c.push(text, b)
		start = end
	}
	sum := 0.0
	for at := a.start; at < a.end; {
		end := wordEnd(p, text, at, a.end)
		s := m.weigh(text[at:end])
		if sum > 0 && (sum+s > room || sum+s/2 > target) {
			emit(at, sum)
			sum = 0
		}
		if s > room {
			at, sum = c.characters(text[:end], at, m, emit)
			continue
		}
		sum += s
		at = end
	}
	if start < a.end {
		emit(a.end, sum)
	}
}

// wordEnd returns where the word that begins at at ends: after the space that
// follows it, or after one cluster in a script without spaces.
func wordEnd(p *passage, text string, at, limit int) int {
	g := graphemes.FromString(text[at:limit])
	for g.Next() {
		end := at + g.End()
		last, _ := utf8.DecodeRuneInString(g.Value())
		next, _ := utf8.DecodeRuneInString(text[end:limit])
		if (last == ' ' || unspaced(last) && unspaced(next) && !unicode.IsPunct(next)) && !pronounced(p, end) {
			return end
		}
	}
	return limit
}

// characters emits parts of a word that no segment can hold, and returns where
// the last part, not emitted, begins, and its seconds up to the end of text.
func (c *cutter) characters(text string, at int, m meter, emit func(int, float64)) (end int, rest float64) {
	room := c.capped - leadSeconds
	sum := 0.0
	g := graphemes.FromString(text[at:])
	for g.Next() {
		s := m.weigh(g.Value())
		if sum > 0 && sum+s > room {
			emit(at+g.Start(), sum)
			sum = 0
		}
		if s > room { // a letter under more marks than a segment holds
			s = pile(g.Value(), at+g.Start(), m, room, emit)
		}
		sum += s
	}
	return len(text), sum
}

// pile emits parts of one cluster that no segment can hold; it returns the
// seconds of the last one, which is not emitted. No rune of it but its letter
// weighs more than one letter or syllable.
func pile(cluster string, at int, m meter, room float64, emit func(int, float64)) (rest float64) {
	most := max(1, int(room/max(m.perLetter, m.perSyllable))-digitWeight)
	start, runes := 0, 0
	for i := range cluster {
		if runes == most {
			emit(at+i, m.weigh(cluster[start:i]))
			start, runes = i, 0
		}
		runes++
	}
	return m.weigh(cluster[start:])
}

// pack fills c.best with the cheapest way to join the atoms into segments.
func (c *cutter) pack() {
	n := len(c.atoms)
	c.best = append(c.best[:0], choice{})
	for i := 1; i <= n; i++ {
		last := c.atoms[i-1]
		found := choice{cost: math.Inf(1), from: i - 1}
		sum := leadSeconds
		for k := i - 1; k >= 0; k-- {
			a := c.atoms[k]
			sum += a.seconds
			if k < i-1 && (sum > c.capped || !strings.EqualFold(a.lang, last.lang)) {
				break
			}
			off := sum - c.aim
			cost := c.best[k].cost + off*off
			if last.after == BreakNone {
				cost += clauseCost
			}
			if cost < found.cost {
				found = choice{cost, k}
			}
		}
		c.best = append(c.best, found)
	}
}
