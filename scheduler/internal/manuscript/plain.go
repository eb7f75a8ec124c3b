package manuscript

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain is an opened plain text.
type plain struct {
	doc     *decoded
	groups  []group
	width   int  // runes of the longest lines, the outliers aside
	wrapped bool // lines are broken at width; a paragraph ends at an empty line
}

// group is a run of lines without an empty one between them.
type group struct {
	start, end int
	lines      int
	blank      int // empty lines before it
	level      int // of a heading; 0 for text
	margin     mark
	begins     bool // a chapter begins here, heading or not
}

func (d *Document) openPlain(r io.ReaderAt, size int64, params string) error {
	raw, err := d.readWhole(r, size)
	if err != nil {
		return err
	}
	doc, err := decode(raw, charsetParam(params), "", false)
	if err != nil {
		return err
	}
	p := &plain{doc: doc}
	p.group()
	p.measure()
	p.headings()
	p.licence(d)
	d.source = p
	return nil
}

// group finds the groups.
func (p *plain) group() {
	at, blank := 0, 0
	open := false
	for line := range bytes.Lines(p.doc.text) {
		end := at + len(line)
		if len(bytes.TrimSpace(line)) == 0 {
			open = false
			blank++
		} else if open {
			g := &p.groups[len(p.groups)-1]
			g.end, g.lines = end, g.lines+1
		} else {
			p.groups = append(p.groups, group{start: at, end: end, lines: 1, blank: blank})
			open, blank = true, 0
		}
		at = end
	}
}

// measure finds out whether the text is wrapped: lines that another line of the
// same group follows are then nearly as long as the longest.
func (p *plain) measure() {
	const (
		most   = 100 // a wrapped line has at most that many characters
		least  = 40
		longer = 256
	)
	var all, inner [longer + 1]int
	count, inside := 0, 0
	for _, g := range p.groups {
		left := g.lines
		for line := range bytes.Lines(p.doc.text[g.start:g.end]) {
			n := min(longer, utf8.RuneCount(bytes.TrimSpace(line)))
			all[n]++
			count++
			if left--; left > 0 {
				inner[n]++
				inside++
			}
		}
	}
	seen := 0
	for n := range all {
		if seen += all[n]; seen*100 >= count*95 {
			p.width = n
			break
		}
	}
	full := 0
	for n := p.width * 3 / 5; n <= longer; n++ {
		full += inner[n]
	}
	p.wrapped = p.width <= most && p.width >= least && inside > 0 && full*2 > inside
}

var (
	chapterLine = regexp.MustCompile(`(?i)^(?:(?:chapter|chap\.|canto|act|scene|kapitel|chapitre|cap[ií]tulo|capitolo|hoofdstuk|глава|bölüm|rozdział|kapitola)\s+(?:[ivxlcdm]+|\d+|[\p{L}-]+)(?:$|[\s.:—–-].*)|(?:prologue|epilogue|preface|introduction|foreword|afterword|appendix|conclusion|contents|table of contents|dedication|acknowledge?ments|notes|footnotes|glossary|index|bibliography|prolog|epilog|vorwort|nachwort|einleitung|préface|prologue|épilogue|prólogo|epílogo)(?:\s+(?:[ivxlc]+|\d+|[a-z]))?[.:]?$|第[0-9０-９一二三四五六七八九十百千]+[章回話节節卷](?:$|[\s　:：].*))`)
	partLine    = regexp.MustCompile(`(?i)^(?:(?:part|book|volume|teil|buch|band|partie|livre|tome|parte|libro|часть|книга|deel)\s+(?:the\s+)?(?:[ivxlcdm]+|\d+|one|two|three|four|five|six|seven|eight|nine|ten|first|second|third|fourth|fifth|[a-z]{1,12})(?:$|[.:—–-].*)|第[0-9０-９一二三四五六七八九十百千]+部(?:$|[\s　:：].*))`)
	numberLine  = regexp.MustCompile(`^(?:[IVXLC]{1,7}|\d{1,3})\.?$`)
	startLine   = regexp.MustCompile(`(?i)^\*{3}\s*START OF (?:THE|THIS) PROJECT GUTENBERG`)
	endLine     = regexp.MustCompile(`(?i)^\*{3}\s*END OF (?:THE|THIS) PROJECT GUTENBERG`)
)

// The levels of headings in plain text.
const (
	partHeading    = 1
	chapterHeading = 2
	otherHeading   = 3
)

// headings gives groups that look like headings their level.
func (p *plain) headings() {
	const (
		mostLines = 3
		mostRunes = 90
		inARow    = 4 // that many headings without text between are a table of contents
	)
	row := 0
	for i := range p.groups {
		g := &p.groups[i]
		text := bytes.TrimSpace(p.doc.text[g.start:g.end])
		if g.lines <= mostLines && utf8.RuneCount(text) <= mostRunes*g.lines {
			g.level = headingLine(text, g, i == 0)
		}
		if g.level == 0 || g.level == otherHeading {
			row = 0
			continue
		}
		if row++; row >= inARow {
			for k := i - row + 1; k <= i; k++ {
				p.groups[k].level = 0
			}
		}
	}
}

// headingLine returns the level of text as a heading, 0 if it is none.
func headingLine(text []byte, g *group, first bool) int {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSpace(bytes.Trim(line, "_*=#- \t\r"))
	if len(line) == 0 || len(line) > 160 {
		return 0
	}
	apart := first || g.blank >= 2
	switch {
	case sentenceLike(line) && !upperCase(line):
		return 0
	case partLine.Match(line) && (apart || upperCase(line)):
		return partHeading
	case chapterLine.Match(line):
		return chapterHeading
	case g.lines == 1 && apart && numberLine.Match(line):
		return chapterHeading
	case g.lines == 1 && g.blank > 0 && upperCase(line) && utf8.RuneCount(line) <= 60:
		return otherHeading
	}
	return 0
}

// sentenceLike reports whether line reads as prose: it is long, or has the
// marks of speech or of a sentence within.
func sentenceLike(line []byte) bool {
	if utf8.RuneCount(line) > 80 {
		return true
	}
	last, _ := utf8.DecodeLastRune(line)
	return last == ',' || last == ';' || last == '!' || last == '?' || last == '"' || last == '”' ||
		last == '.' && bytes.Count(line, []byte(" ")) > 8
}

// upperCase reports whether line has letters and all of them are capitals.
func upperCase(line []byte) bool {
	letters := 0
	for _, r := range string(line) {
		if unicode.IsLetter(r) {
			if !unicode.IsUpper(r) {
				return false
			}
			letters++
		}
	}
	return letters >= 2
}

// licence marks what stands before and after the work in a Project Gutenberg
// text, and takes title and author from its head.
func (p *plain) licence(d *Document) {
	start, end := -1, -1
	for i, g := range p.groups {
		text := bytes.TrimSpace(p.doc.text[g.start:g.end])
		switch {
		case start < 0 && startLine.Match(text):
			start = i
		case start >= 0 && end < 0 && endLine.Match(text):
			end = i
		}
	}
	if start < 0 {
		return
	}
	for i := range p.groups {
		g := &p.groups[i]
		switch {
		case i <= start:
			g.margin, g.level = mark{matter: Front, known: true}, 0
			d.readCredits(p.doc.text[g.start:g.end])
		case end >= 0 && i >= end:
			g.margin, g.level = mark{matter: Back, known: true}, 0
		}
		g.begins = i == start+1 || i == end
	}
}

func (d *Document) readCredits(text []byte) {
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(string(line), ":")
		switch key {
		case "Title":
			d.About.Title = folded(value)
		case "Author":
			d.About.Author = folded(value)
		}
	}
}

// read implements source.
func (p *plain) read(to *binder) error {
	to.split = chapterHeading
	s := &scribe{emit: to.add, src: p.doc}
	for i := range p.groups {
		g := &p.groups[i]
		if g.begins {
			s.next = &heading{}
		}
		s.level, s.mark = g.level, g.margin
		p.paragraph(s, g)
		s.flush()
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// paragraph passes the lines of g: joined if the text is wrapped, as verse if
// they are short, else each line by itself.
func (p *plain) paragraph(s *scribe, g *group) {
	lines := slices.Collect(bytes.Lines(p.doc.text[g.start:g.end]))
	verse := p.wrapped && !p.fills(lines)
	at := g.start
	for i, line := range lines {
		p.line(s, line, at)
		at += len(line)
		switch {
		case i+1 == len(lines):
		case g.level > 0, !p.wrapped && ends(line):
			s.flush()
		case verse, !p.wrapped:
			s.line()
		case splitWord(line, lines[i+1]):
			s.gap = 0
		}
	}
}

// fills reports whether a line that another follows is about as long as lines get.
func (p *plain) fills(lines [][]byte) bool {
	for _, line := range lines {
		if utf8.RuneCount(bytes.TrimSpace(line)) > p.width*4/5 {
			return true
		}
	}
	return false
}

// ends reports whether a line of a text that is not wrapped is a paragraph.
func ends(line []byte) bool {
	const verse = 60
	line = bytes.TrimSpace(line)
	if utf8.RuneCount(line) > verse {
		return true
	}
	last, _ := utf8.DecodeLastRune(line)
	return strings.ContainsRune(".!?…:。！？」』”\"؟", last)
}

// splitWord reports whether a word with a hyphen is broken between two lines.
func splitWord(line, next []byte) bool {
	line = bytes.TrimRight(line, " \t\r\n")
	if n := len(line); n < 2 || line[n-1] != '-' || line[n-2] == '-' {
		return false
	}
	before, _ := utf8.DecodeLastRune(line[:len(line)-1])
	after, _ := utf8.DecodeRune(next)
	return unicode.IsLetter(before) && unicode.IsLower(after)
}

// line passes one line without the marks of emphasis: underscores and asterisks
// at the edge of a word.
func (p *plain) line(s *scribe, line []byte, at int) {
	from := 0
	for i, c := range line {
		if c != '_' && c != '*' {
			continue
		}
		before, _ := utf8.DecodeLastRune(line[:i])
		after, _ := utf8.DecodeRune(line[i+1:])
		if edge(before, c) != edge(after, c) {
			s.text(line[from:i], at+from, verbatim)
			from = i + 1
		}
	}
	s.text(line[from:], at+from, verbatim)
}

// edge reports whether r, beside the mark c, is not of the word or the mark.
func edge(r rune, c byte) bool {
	return r != rune(c) && !wordRune(r)
}
