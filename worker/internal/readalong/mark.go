package readalong

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// edit is what is written into a file at one byte, in place of so many.
type edit struct {
	at, drop int
	text     string
}

// apply returns raw with its edits, which do not overlap. Of two at one place the
// first that was made comes first.
func apply(raw []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
	out := make([]byte, 0, len(raw)+32*len(edits))
	last := 0
	for _, e := range edits {
		if e.at > last {
			out = append(out, raw[last:e.at]...)
			last = e.at
		}
		out = append(out, e.text...)
		last = max(last, e.at+e.drop)
	}
	return append(out, raw[last:]...)
}

// marker gives ids to what is spoken in one document.
type marker struct {
	*document
	prefix string
	count  int
	edits  []edit
}

// free returns a prefix of ids that raw does not have.
func free(raw []byte, prefix string) string {
	for bytes.Contains(raw, []byte(`"`+prefix)) || bytes.Contains(raw, []byte(`'`+prefix)) {
		prefix += "x"
	}
	return prefix
}

func (m *marker) next() string {
	m.count++
	return fmt.Sprintf("%s%d", m.prefix, m.count)
}

// usable are the ids that need no escaping in a link.
var usable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9._-]{0,200}$`)

// identify returns the id of an element, which it is given if it has none. false: it has one that
// cannot be named.
func (m *marker) identify(i int) (string, bool) {
	e := &m.elements[i]
	if e.id == "" {
		e.id = m.next()
		m.edits = append(m.edits, edit{at: e.start + 1 + e.qualified, text: ` id="` + e.id + `"`})
	}
	return e.id, usable.MatchString(e.id)
}

// piece is a part of a sentence that one element can hold.
type piece struct{ start, end int }

// pieces cuts a stretch of the document where an element begins or ends that is
// not all within it, and at blocks. What has no letters is no piece.
func (d *document) pieces(p piece) (all []piece) {
	open := []int{} // tokens
	from := p.start
	add := func(end int) {
		if one := d.trim(piece{from, end}); !d.silent(one.start, one.end) {
			all = append(all, one)
		}
	}
	for i := d.tokenAt(p.start); i < len(d.tokens) && d.tokens[i].start < p.end; i++ {
		t := d.tokens[i]
		switch t.kind {
		case startTag:
			if d.inline(t.element) {
				open = append(open, i)
				continue
			}
			if len(open) > 0 { // a block in something inline: it is cut there, too
				i, open = open[0], open[:0]
				add(d.tokens[i].start)
				from = d.tokens[i].end
				continue
			}
			add(t.start)
			from = t.end
		case endTag:
			if len(open) > 0 {
				open = open[:len(open)-1]
				continue
			}
			add(t.start)
			from = t.end
		case emptyTag:
			if !d.inline(t.element) && len(open) == 0 {
				add(t.start)
				from = t.end
			}
		case text, other:
		}
	}
	if len(open) > 0 {
		border := d.tokens[open[0]]
		add(border.start)
		return append(all, d.pieces(piece{border.end, p.end})...)
	}
	add(p.end)
	return all
}

// lift takes in the elements that hold nothing but what is spoken in p at its ends.
func (d *document) lift(p piece) piece {
	for {
		i := d.outer(p.start)
		if i < 0 || !d.inline(i) || !d.silent(d.elements[i].inside, p.start) {
			break
		}
		e := d.elements[i]
		if p.end < e.end && !d.silent(p.end, e.outside) {
			break
		}
		p.start, p.end = e.start, max(p.end, e.end)
	}
	for {
		i := d.around(p.end - 1)
		if i >= 0 && d.elements[i].end == p.end { // its end tag
			i = d.elements[i].parent
		}
		if i < 0 || !d.inline(i) || d.elements[i].start < p.start || d.elements[i].end < p.end || !d.silent(p.end, d.elements[i].outside) {
			return p
		}
		p.end = d.elements[i].end
	}
}

// outer returns the innermost element in which the byte at stands, which is not the
// one that begins with it; -1: none.
func (d *document) outer(at int) int {
	i := d.around(at)
	if i >= 0 && d.elements[i].start == at {
		i = d.elements[i].parent
	}
	return i
}

// trim takes white space from both ends.
func (d *document) trim(p piece) piece {
	s := d.raw[p.start:max(p.start, p.end)]
	p.start += len(s) - len(bytes.TrimLeft(s, " \t\r\n\u00a0"))
	return piece{p.start, p.start + len(bytes.TrimSpace(d.raw[p.start:max(p.start, p.end)]))}
}

// inlines are the elements that may stand in a span.
//
//nolint:gochecknoglobals // a table
var inlines = strings.Fields(`a abbr b bdi bdo big br cite code data dfn del em font i img ins kbd mark math q ruby rb rt rp rtc s samp script small
	span strike strong sub sup svg time tt u var wbr acronym label audio video object`)

func (d *document) inline(i int) bool {
	return slices.Contains(inlines, d.elements[i].name) || d.elements[i].foreignContent
}

// holders are the elements that may have a span as a child.
//
//nolint:gochecknoglobals // a table
var holders = strings.Fields(`a abbr b bdi bdo big cite code data dfn del em font i ins kbd mark q s samp small span strike strong sub sup time tt u var
	acronym label p div h1 h2 h3 h4 h5 h6 li dt dd td th caption figcaption blockquote section article aside main header footer address pre body
	figure summary legend center details hgroup`)

// hold returns the id of an element that holds a piece and nothing else: one that is
// there, or a span. false: none can be there.
func (m *marker) hold(p piece) (string, bool) {
	if i := m.exactly(p); i >= 0 {
		if id, ok := m.identify(i); ok {
			return id, true
		}
	}
	in := m.outer(p.start)
	if in < 0 || !slices.Contains(holders, m.elements[in].name) || m.elements[in].foreignContent || m.elements[in].qualified != len(m.elements[in].name) {
		return "", false
	}
	id := m.next()
	m.edits = append(m.edits, edit{at: p.start, text: `<span id="` + id + `">`}, edit{at: p.end, text: "</span>"})
	return id, true
}

// exactly returns the element that p is, or all that is in it; -1: none.
func (m *marker) exactly(p piece) int {
	i := m.around(p.start)
	if i < 0 {
		return -1
	}
	e := m.elements[i]
	if e.start == p.start && e.end == p.end && !e.foreignContent {
		return i
	}
	if e.start == p.start {
		if i = e.parent; i < 0 {
			return -1
		}
		e = m.elements[i]
	}
	if !slices.Contains(holders, e.name) || e.name == "body" || e.foreignContent ||
		len(bytes.TrimSpace(m.raw[e.inside:p.start])) > 0 || p.end > e.outside || len(bytes.TrimSpace(m.raw[p.end:e.outside])) > 0 {
		return -1
	}
	return i
}
