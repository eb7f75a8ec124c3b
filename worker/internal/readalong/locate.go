package readalong

import (
	"bytes"
	"html"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// glyph is a letter or digit of a text: what is compared, with its bytes.
type glyph struct {
	r          rune
	start, end int
}

// Only letters and digits are compared, without their marks: the plan has folded
// white space, composed what was decomposed, and left out what nobody sees.
func appendGlyphs(to []glyph, r rune, start, end int) []glyph {
	if r < utf8.RuneSelf {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			to = append(to, glyph{r, start, end})
		}
		return to
	}
	if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
		return to
	}
	for _, base := range norm.NFD.String(string(r)) {
		if unicode.IsLetter(base) || unicode.IsNumber(base) {
			to = append(to, glyph{base, start, end})
		}
	}
	return to
}

// glyphsOf returns the letters of a plain text.
func glyphsOf(s string) (g []glyph) {
	for i, r := range s {
		g = appendGlyphs(g, r, i, i+utf8.RuneLen(r))
	}
	return g
}

// spoken returns the letters between two bytes of a document that are not hidden.
func (d *document) spoken(start, end int) (g []glyph) {
	for i := d.tokenAt(start); i < len(d.tokens) && d.tokens[i].start < end; i++ {
		t := d.tokens[i]
		switch {
		case t.element < 0 || d.elements[t.element].hidden:
		case t.kind == text:
			g = d.letters(g, max(t.start, start), min(t.end, end))
		case t.kind == emptyTag && d.elements[t.element].label != 0:
			g = append(g, glyph{rune(d.elements[t.element].label), t.start, t.end})
		}
	}
	return g
}

// silent reports whether nothing is spoken between two bytes. It looks at a thousand tags
// and texts at most, and at four kilobytes of each; beyond, something is.
func (d *document) silent(start, end int) bool {
	const mostTokens, mostBytes = 1000, 4 << 10
	first := d.tokenAt(start)
	for i := first; i < len(d.tokens) && d.tokens[i].start < end; i++ {
		t := d.tokens[i]
		from, to := max(t.start, start), min(t.end, end)
		switch {
		case i-first > mostTokens:
			return false
		case t.element < 0 || d.elements[t.element].hidden:
		case t.kind == text && (to-from > mostBytes || len(d.letters(nil, from, to)) > 0),
			t.kind == emptyTag && d.elements[t.element].label != 0:
			return false
		}
	}
	return true
}

// letters adds those of a stretch of text, whose entities are one letter each.
func (d *document) letters(g []glyph, start, end int) []glyph {
	const longest = 40 // bytes of an entity
	for i := start; i < end; {
		if d.raw[i] == '&' {
			if n := bytes.IndexByte(d.raw[i:min(end, i+longest)], ';'); n > 1 {
				entity := string(d.raw[i : i+n+1])
				if value := html.UnescapeString(entity); value != entity {
					for _, r := range value {
						g = appendGlyphs(g, r, i, i+n+1)
					}
					i += n + 1
					continue
				}
			}
		}
		r, n := utf8.DecodeRune(d.raw[i:end])
		g = appendGlyphs(g, r, i, i+n)
		i += n
	}
	return g
}

// The bounds of looking for what comes next.
const (
	lookAhead  = 6   // letters that must agree after a difference
	mostUnread = 400 // letters of the document that may be unspoken in one place
	mostAdded  = 4   // letters that are spoken and not written
	mostMissed = 32  // letters in a row that are not found; after them none is looked for
)

// align returns for each letter of the text the one of the document that it is, -1 for
// none. The text is the document's with stretches left out; where they differ, the
// shortest stretch counts after which a few letters agree.
func align(said, written []glyph) []int {
	at := make([]int, len(said))
	w, missed := 0, 0
	for s := 0; s < len(said); {
		if w < len(written) && said[s].r == written[w].r {
			at[s] = w
			s, w, missed = s+1, w+1, 0
			continue
		}
		added, unread, ok := 0, 0, false
		if missed < mostMissed {
			added, unread, ok = resume(said[s:], written[w:])
		}
		if !ok {
			at[s] = -1
			s, missed = s+1, missed+1
			continue
		}
		for range added {
			at[s] = -1
			s++
		}
		w += unread
	}
	return at
}

// resume returns how much of both has to be passed over until they agree.
func resume(said, written []glyph) (added, unread int, ok bool) {
	for added = 0; added <= mostAdded && added < len(said); added++ {
		n := min(lookAhead, len(said)-added)
		for unread = 0; unread <= mostUnread && unread+n <= len(written); unread++ {
			if agree(said[added:added+n], written[unread:unread+n]) {
				return added, unread, true
			}
		}
	}
	return 0, 0, false
}

func agree(a, b []glyph) bool {
	for i := range a {
		if a[i].r != b[i].r {
			return false
		}
	}
	return true
}

// place is where a stretch of a segment's text stands in its document.
type place struct {
	start, end int // end 0: nowhere
	millis     int64
	words      []wordAt
}

// wordAt is where a word begins, and when it sounds.
type wordAt struct {
	at     int
	millis int64
}

// locate returns where each sentence of s stands.
func (d *document) locate(s Segment) []place {
	said, written := glyphsOf(s.Text), d.spoken(s.Start, s.End)
	at := align(said, written)
	places := make([]place, len(s.Sentences))
	k, w := 0, 0
	for i, sentence := range s.Sentences {
		p := &places[i]
		p.millis = sentence.Millis
		next := len(s.Text)
		if i+1 < len(s.Sentences) {
			next = s.Sentences[i+1].At
		}
		for ; k < len(said) && said[k].start < next; k++ {
			if at[k] < 0 {
				continue
			}
			g := written[at[k]]
			if p.end == 0 {
				p.start = g.start
			}
			p.end = g.end
			for w < len(s.Words) && s.Words[w].At <= said[k].start { // the first letter of a word or, that failing, the next that is there
				p.words = append(p.words, wordAt{g.start, s.Words[w].Millis})
				w++
			}
		}
	}
	return places
}

// fit returns what of the document stands for p: with the elements that hold nothing else and, between
// low and high, the punctuation around it.
func (d *document) fit(p place, low, high int) piece {
	one := piece{p.start, p.end}
	for range 2 { // there may be punctuation behind an element, too
		one = d.lift(d.dress(one, low, high))
	}
	return one
}

// dress adds the punctuation that stands at both ends of a sentence.
func (d *document) dress(p piece, low, high int) piece {
	for p.end < high && d.isText(p.end) {
		r, n := utf8.DecodeRune(d.raw[p.end:high])
		if unicode.IsSpace(r) || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.In(r, unicode.Ps, unicode.Pi) || r == '&' || r == '<' {
			break
		}
		p.end += n
	}
	for p.start > low {
		r, n := utf8.DecodeLastRune(d.raw[low:p.start])
		if !d.isText(p.start-n) || !unicode.In(r, unicode.Ps, unicode.Pi, unicode.Pd) && r != '"' && r != '\'' && r != '¿' && r != '¡' {
			break
		}
		p.start -= n
	}
	return p
}
