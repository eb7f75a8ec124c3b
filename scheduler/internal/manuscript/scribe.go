package manuscript

import (
	"bytes"
	"html"
	"unicode"
	"unicode/utf8"
)

// scribe writes passages: it folds white space, resolves entities and remembers
// where every byte came from. Readers tell it text and the boundaries between;
// it emits each passage when it is complete.
type scribe struct {
	emit     func(*passage) error
	src      *decoded
	document string
	entities map[string]string // declared by the document itself

	p      passage // in the making; its slices are reused
	serial int     // counts passages
	lang   string  // of the text to come
	gap    gap     // what lies between the text so far and the text to come
	gapAt  int     // source offset of the first white space of the gap
	gapEnd int
	level  int      // of a heading, while inside one
	mark   mark     // of the text to come
	next   *heading // the chapter that the next passage begins
	ascii  bool     // p.text is ASCII
	lines  bool     // a line feed is a line of verse
	closer bool     // the bracket that closes next belongs to a note mark
	err    error    // the first error of emit; nothing is written after it
}

// gap says what separates two pieces of text. The strongest counts.
type gap uint8

const (
	gapSpace gap = 1 << iota // white space
	gapFeed                  // white space with a line feed
	gapLine                  // a new line of verse
	gapCell                  // a new cell of a table row
	gapBlock                 // a new paragraph, within a cell or after an empty line of verse
)

// notation says which escapes a text has.
type notation uint8

const (
	verbatim   notation = iota
	entities            // &amp;
	backslants          // &amp; and \*
)

// byteClass tells what the folding has to do with a byte.
type byteClass uint8

const (
	classPlain byteClass = iota
	classSpace
	classEscape
	classWide
	classControl
)

var byteClasses = func() (t [256]byteClass) {
	for i := range t {
		switch {
		case i == ' ' || i == '\t' || i == '\n' || i == '\r' || i == '\f' || i == '\v':
			t[i] = classSpace
		case i < ' ' || i == 0x7f:
			t[i] = classControl
		case i == '&' || i == '\\':
			t[i] = classEscape
		case i >= utf8.RuneSelf:
			t[i] = classWide
		}
	}
	return t
}()

// text adds raw, which begins at offset at of the decoded document.
func (s *scribe) text(raw []byte, at int, esc notation) {
	if s.closer && len(raw) > 0 {
		s.closer = false
		if raw[0] == ']' || raw[0] == ')' {
			raw, at = raw[1:], at+1
		}
	}
	run := 0 // start of the bytes not yet written
	for i := 0; i < len(raw); {
		class := byteClasses[raw[i]]
		if class == classPlain {
			i++
			continue
		}
		n := 1
		switch class {
		case classSpace:
			s.run(raw[run:i], at+run)
			s.space(at+i, 1, raw[i] == '\n')
		case classControl:
			s.run(raw[run:i], at+run)
		case classEscape:
			if n = s.escape(raw[run:], i-run, at+run, esc); n == 0 {
				i++ // an ordinary character
				continue
			}
		case classWide, classPlain:
			var r rune
			r, n = utf8.DecodeRune(raw[i:])
			if !r2space(r) && !silent(r, n) {
				i += n
				s.ascii = false
				continue
			}
			s.run(raw[run:i], at+run)
			if r2space(r) {
				s.space(at+i, n, r == '\u2028' || r == '\u2029' || r == '\u0085')
			}
		}
		i += n
		run = i
	}
	s.run(raw[run:], at+run)
}

// r2space reports whether r is white space beyond ASCII.
func r2space(r rune) bool {
	return r == '\u00a0' || r == '\u0085' || r >= '\u1680' && unicode.IsSpace(r)
}

// silent reports whether r, decoded from n bytes, is no part of any word: a
// broken byte or an invisible character without meaning for speech.
func silent(r rune, n int) bool {
	switch {
	case r == utf8.RuneError:
		return true
	case r < 0xa0 && n > 1, r == '\u00ad', r == '\u200b', r == '\u2060', r == '\ufeff':
		return true
	case r == '\u200e', r == '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return r >= 0xe000 && r <= 0xf8ff || r >= 0xf0000 // private use
}

// escape handles the entity or backslash at raw[i], after writing raw[:i]. It
// returns how many bytes it took, 0 if the character is an ordinary one.
func (s *scribe) escape(raw []byte, i, at int, esc notation) int {
	if raw[i] == '\\' {
		if esc != backslants || i+1 >= len(raw) || !punctuation(raw[i+1]) {
			return 0
		}
		s.run(raw[:i], at)
		s.atom(string(raw[i+1]), at+i, 2)
		return 2
	}
	if esc == verbatim {
		return 0
	}
	const longest = 40 // the longest named entity has 31 letters
	end := bytes.IndexByte(raw[i:min(len(raw), i+longest)], ';')
	if end < 2 {
		return 0
	}
	entity := string(raw[i : i+end+1])
	value := html.UnescapeString(entity)
	if value == entity {
		own, ok := s.entities[entity[1:end]]
		if !ok {
			return 0
		}
		value = own
	}
	s.run(raw[:i], at)
	s.atom(value, at+i, end+1)
	return end + 1
}

func punctuation(c byte) bool {
	alphanumeric := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	return c > ' ' && c < 0x7f && !alphanumeric
}

// atom adds value, which stands for the width source bytes at offset at.
func (s *scribe) atom(value string, at, width int) {
	for _, r := range value {
		switch {
		case r < utf8.RuneSelf && byteClasses[r] == classSpace || r2space(r):
			s.space(at, width, r == '\n')
		case r < utf8.RuneSelf && byteClasses[r] == classControl || silent(r, utf8.RuneLen(r)):
		default:
			s.join(r, at)
			if s.err != nil {
				return
			}
			s.p.pieces = append(s.p.pieces, piece{text: len(s.p.text), source: at, width: width, atom: true})
			s.p.text = utf8.AppendRune(s.p.text, r)
			s.ascii = s.ascii && r < utf8.RuneSelf
		}
	}
}

// run adds bytes that need no change.
func (s *scribe) run(raw []byte, at int) {
	if len(raw) == 0 || s.err != nil {
		return
	}
	if s.gap != 0 || len(s.p.text) == 0 || s.p.langs[len(s.p.langs)-1].lang != s.lang {
		first := rune(raw[0])
		if first >= utf8.RuneSelf {
			first, _ = utf8.DecodeRune(raw)
		}
		s.join(first, at)
		if s.err != nil {
			return
		}
	}
	if k := len(s.p.pieces) - 1; k < 0 || s.p.pieces[k].atom || s.p.pieces[k].source+len(s.p.text)-s.p.pieces[k].text != at {
		s.p.pieces = append(s.p.pieces, piece{text: len(s.p.text), source: at})
	}
	s.p.text = append(s.p.text, raw...)
}

// join settles the gap before text that begins with r at source offset at, and
// begins a passage where there is none.
func (s *scribe) join(r rune, at int) {
	if s.gap&gapBlock != 0 {
		s.flush()
		if s.err != nil {
			return
		}
	}
	if len(s.p.text) == 0 {
		s.begin()
		s.ascii = r < utf8.RuneSelf
	} else if s.gap != 0 {
		s.separate(r, at)
	}
	s.gap = 0
	if r >= utf8.RuneSelf {
		s.ascii = false
	}
	if k := len(s.p.langs); k == 0 || s.p.langs[k-1].lang != s.lang {
		s.p.langs = append(s.p.langs, langRun{len(s.p.text), s.lang})
	}
}

// begin starts a passage.
func (s *scribe) begin() {
	s.p.document, s.p.src = s.document, s.src
	s.p.level, s.p.mark = s.level, s.mark
	s.p.begins, s.next = s.next, nil
}

// separate writes what the gap comes to between two words.
func (s *scribe) separate(next rune, at int) {
	last, _ := utf8.DecodeLastRune(s.p.text)
	from, width := s.gapAt, s.gapEnd-s.gapAt
	if s.gap&(gapSpace|gapFeed) == 0 {
		from, width = at, 0
	}
	if s.gap&gapCell != 0 && !unicode.IsPunct(last) {
		s.p.pieces = append(s.p.pieces, piece{text: len(s.p.text), source: from, width: 0, atom: true})
		s.p.text = append(s.p.text, ',')
	}
	if s.gap == gapFeed|gapSpace && unspaced(last) && unspaced(next) {
		return // a line that was wrapped in a script without spaces
	}
	if k := len(s.p.pieces) - 1; width != 1 || s.p.pieces[k].atom || s.p.pieces[k].source+len(s.p.text)-s.p.pieces[k].text != from {
		s.p.pieces = append(s.p.pieces, piece{text: len(s.p.text), source: from, width: width, atom: true})
	}
	s.p.text = append(s.p.text, ' ')
	if s.gap&gapLine != 0 {
		s.p.lines = append(s.p.lines, len(s.p.text))
	}
}

// space notes white space of width bytes at offset at.
func (s *scribe) space(at, width int, feed bool) {
	if s.gap&(gapSpace|gapFeed) == 0 {
		s.gapAt = at
	}
	s.gapEnd = at + width
	s.gap |= gapSpace
	if feed {
		s.gap |= gapFeed
		if s.lines {
			if s.gap&gapLine != 0 {
				s.gap |= gapBlock // an empty line
			}
			s.gap |= gapLine
		}
	}
}

// line notes the end of a line of verse: the sentence goes on, the word does not.
func (s *scribe) line() { s.gap |= gapLine }

// cell notes the end of a table cell.
func (s *scribe) cell() { s.gap = s.gap&^gapBlock | gapCell }

// block notes the end of a paragraph inside a table cell.
func (s *scribe) block() { s.gap |= gapBlock }

// flush ends the passage, if there is one, and emits it.
func (s *scribe) flush() {
	s.gap, s.closer = 0, false
	if len(s.p.text) == 0 || s.err != nil {
		return
	}
	if !s.ascii {
		s.p.normalise()
	}
	s.err = s.emit(&s.p)
	s.reset()
}

func (s *scribe) reset() {
	s.serial++
	p := &s.p
	*p = passage{text: p.text[:0], pieces: p.pieces[:0], lines: p.lines[:0], langs: p.langs[:0], says: p.says[:0]}
}

// place is a point of a passage that can be returned to.
type place struct {
	serial, text, pieces, lines, langs, says int
	gap                                      gap
	ascii                                    bool
}

// here returns the point after the text so far.
func (s *scribe) here() place {
	p := &s.p
	return place{s.serial, len(p.text), len(p.pieces), len(p.lines), len(p.langs), len(p.says), s.gap, s.ascii}
}

// since returns the text written after at; ok is false if the passage that at
// lies in has ended.
func (s *scribe) since(at place) (text []byte, ok bool) {
	if at.serial != s.serial {
		return nil, false
	}
	return bytes.TrimSpace(s.p.text[at.text:]), true
}

// rewind takes back the text written after at, which must lie in the passage.
// White space on either side of it stays.
func (s *scribe) rewind(at place) {
	p := &s.p
	if at.text == 0 && len(p.text) > 0 && p.begins != nil {
		s.next, p.begins = p.begins, nil
	}
	p.text, p.pieces, p.lines = p.text[:at.text], p.pieces[:at.pieces], p.lines[:at.lines]
	p.langs, p.says = p.langs[:at.langs], p.says[:at.says]
	s.gap |= at.gap
	s.ascii = at.ascii
}

// unbracket takes back the text written after at and the square bracket right
// before it, and lets the one that closes go unsaid. It returns false, and does
// nothing, if there is no bracket.
func (s *scribe) unbracket(at place) bool {
	if at.text == 0 || s.p.text[at.text-1] != '[' || at.gap != 0 {
		return false
	}
	s.rewind(at)
	p := &s.p
	p.text = p.text[:at.text-1]
	for k := len(p.pieces); k > 0 && p.pieces[k-1].text >= len(p.text); k-- {
		p.pieces = p.pieces[:k-1]
	}
	for k := len(p.langs); k > 0 && p.langs[k-1].at >= len(p.text); k-- {
		p.langs = p.langs[:k-1]
	}
	if n := len(p.text); n > 0 && p.text[n-1] == ' ' {
		p.text = p.text[:n-1]
		for k := len(p.pieces); k > 0 && p.pieces[k-1].text >= len(p.text); k-- {
			p.pieces = p.pieces[:k-1]
		}
		s.gap |= gapSpace
		s.gapAt, s.gapEnd = 0, 0
	}
	if len(p.text) == 0 && p.begins != nil {
		s.next, p.begins = p.begins, nil
	}
	s.closer = true
	return true
}

// say notes how the text written after at is pronounced.
func (s *scribe) say(at place, pr Pronunciation) {
	text, ok := s.since(at)
	if !ok || len(text) == 0 {
		return
	}
	end := len(s.p.text)
	if k := len(s.p.says); k > 0 && s.p.says[k-1].End > at.text {
		return // an inner element has said it
	}
	pr.Start, pr.End = end-len(text), end
	s.p.says = append(s.p.says, pr)
}
