package manuscript

import (
	"slices"
	"sort"

	"golang.org/x/text/unicode/norm"
)

// passage is one paragraph, heading, table row or stanza as it will be spoken.
type passage struct {
	document string
	src      *decoded
	level    int      // of a heading, 1 to 6; 0 for a paragraph
	mark     mark     // what the markup says about the place
	begins   *heading // the chapter that begins with this passage, if the source says so

	text   []byte  // folded and, once complete, in NFC
	pieces []piece // where text came from, in order
	lines  []int   // offsets in text that begin a line of verse
	langs  []langRun
	says   []Pronunciation // by offsets in text
}

// piece says where the text from offset text up to the next piece came from:
// byte for byte from source on, or, if atom is true, all of it from the width
// bytes at source.
type piece struct {
	text, source, width int
	atom                bool
}

// langRun says which language the text from offset at on is in.
type langRun struct {
	at   int
	lang string
}

// heading names a chapter.
type heading struct {
	title  string
	matter mark
}

// span returns where text[start:end] came from. start must be less than end.
func (p *passage) span(start, end int) Span {
	a := p.pieces[p.pieceAt(start)]
	b := p.pieces[p.pieceAt(end-1)]
	from, to := a.source, b.source+b.width
	if !a.atom {
		from += start - a.text
	}
	if !b.atom {
		to = b.source + end - b.text
	}
	return Span{Document: p.document, Start: p.src.offset(from), End: p.src.offset(to)}
}

// pieceAt returns the index of the piece that holds offset at.
func (p *passage) pieceAt(at int) int {
	return max(0, sort.Search(len(p.pieces), func(i int) bool { return p.pieces[i].text > at })-1)
}

// language returns the language of most of text[start:end].
func (p *passage) language(start, end int) string {
	if len(p.langs) == 1 {
		return p.langs[0].lang
	}
	best, most := "", -1
	share := map[string]int{}
	first := sort.Search(len(p.langs), func(i int) bool { return p.langs[i].at > start }) - 1
	for i := max(0, first); i < len(p.langs) && p.langs[i].at < end; i++ {
		run := p.langs[i]
		until := len(p.text)
		if i+1 < len(p.langs) {
			until = p.langs[i+1].at
		}
		if n := min(until, end) - max(run.at, start); n > 0 {
			share[run.lang] += n
			if share[run.lang] > most {
				best, most = run.lang, share[run.lang]
			}
		}
	}
	return best
}

// sayAfter returns the index of the first pronunciation that ends after at.
func (p *passage) sayAfter(at int) int {
	return sort.Search(len(p.says), func(i int) bool { return p.says[i].End > at })
}

// normalise brings text into NFC and keeps every offset with its character.
func (p *passage) normalise() {
	if norm.NFC.IsNormal(p.text) {
		return
	}
	old := *p
	moved := make([]int, len(old.text)+1) // old offset to new
	p.text = make([]byte, 0, len(old.text))
	p.pieces = nil
	for at := 0; at < len(old.text); {
		n := norm.NFC.NextBoundary(old.text[at:], true)
		if n <= 0 {
			n = len(old.text) - at
		}
		cluster := old.text[at : at+n]
		start := len(p.text)
		if norm.NFC.IsNormal(cluster) {
			p.copyPieces(&old, at, at+n)
			p.text = append(p.text, cluster...)
			for i := range n {
				moved[at+i] = start + i
			}
		} else {
			from, to := old.sourceRange(at, at+n)
			p.pieces = append(p.pieces, piece{text: start, source: from, width: to - from, atom: true})
			p.text = norm.NFC.Append(p.text, cluster...)
			for i := 1; i < n; i++ {
				moved[at+i] = len(p.text)
			}
			moved[at] = start
		}
		at += n
	}
	moved[len(old.text)] = len(p.text)
	p.lines = slices.Clone(old.lines)
	for i := range p.lines {
		p.lines[i] = moved[p.lines[i]]
	}
	p.langs = slices.Clone(old.langs)
	for i := range p.langs {
		p.langs[i].at = moved[p.langs[i].at]
	}
	p.says = slices.Clone(old.says)
	for i := range p.says {
		p.says[i].Start, p.says[i].End = moved[p.says[i].Start], moved[p.says[i].End]
	}
}

// sourceRange returns the decoded bytes that text[start:end] came from.
func (p *passage) sourceRange(start, end int) (from, to int) {
	a, b := p.pieces[p.pieceAt(start)], p.pieces[p.pieceAt(end-1)]
	from, to = a.source, b.source+b.width
	if !a.atom {
		from += start - a.text
	}
	if !b.atom {
		to = b.source + end - b.text
	}
	return from, to
}

// copyPieces appends the pieces of old.text[start:end] for text appended next.
func (p *passage) copyPieces(old *passage, start, end int) {
	for i := old.pieceAt(start); i < len(old.pieces) && old.pieces[i].text < end; i++ {
		o := old.pieces[i]
		from := max(o.text, start)
		n := piece{text: len(p.text) + from - start, source: o.source, width: o.width, atom: o.atom}
		if !o.atom {
			n.source += from - o.text
			if k := len(p.pieces) - 1; k >= 0 && !p.pieces[k].atom && p.pieces[k].source+n.text-p.pieces[k].text == n.source {
				continue
			}
		}
		p.pieces = append(p.pieces, n)
	}
}
