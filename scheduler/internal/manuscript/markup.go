package manuscript

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// walker turns markup into passages. It reads XHTML and HTML alike, with one
// tokenizer and its own stack, so that offsets are exact and broken nesting is
// repaired in place: an end tag closes the element it names, "<x/>" is always
// empty, and a start tag that cannot stand where it stands closes what it must.
type walker struct {
	scribe   *scribe
	doc      *decoded
	depth    int // most elements that may be open
	stack    []element
	targets  map[string]*heading // by id: where chapters begin
	lexicons func(href string)   // told of each linked pronunciation lexicon
	attrs    attributes
}

// element is an open element: what it changes for the text inside it.
type element struct {
	name     string
	role     role
	hidden   bool // its text is not spoken
	stanza   bool // its blocks are lines of verse
	pre      bool // its line feeds are lines of verse
	cell     bool // it stands in a table row
	sup      bool // it stands in superscript
	spoken   bool // (of a link) it holds superscript, so it may be a note mark
	dropped  bool // a note mark was dropped inside it
	level    int  // of the heading it stands in
	lang     string
	mark     mark
	alphabet string // ssml:alphabet
	phonemes string // ssml:ph
	label    labelKind
	from     place // where its text began
}

// labelKind says under which condition the text of an element is a label that
// is not spoken.
type labelKind uint8

const (
	noLabel    labelKind = iota
	noteLink             // declared a note mark: dropped unless it holds words
	textLink             // an ordinary link into the book: dropped if it looks like a note mark
	supBox               // superscript: dropped if only note marks stood in it
	lineNumber           // the number of a line of verse: dropped if it is a number
)

// newWalker returns a walker over doc whose passages go to s.
func newWalker(s *scribe, doc *decoded, depth int) *walker {
	return &walker{scribe: s, doc: doc, depth: depth}
}

// walk reads the document, where lang is the language outside any element that
// declares one, m the matter.
func (w *walker) walk(lang string, m mark) error {
	start, own := internalSubset(w.doc.text)
	w.scribe.entities = own
	w.stack = append(w.stack[:0], element{lang: lang, mark: m})
	w.restore()
	if err := w.fragment(w.doc.text[start:], start); err != nil {
		return err
	}
	w.closeTo(1)
	w.scribe.flush()
	return w.scribe.err
}

// fragment reads markup that begins at offset at of the document.
func (w *walker) fragment(raw []byte, at int) error {
	z := html.NewTokenizer(bytes.NewReader(raw))
	z.AllowCDATA(true)
	for {
		kind := z.Next()
		token := z.Raw()
		switch kind {
		case html.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return err
			}
			return w.scribe.err
		case html.TextToken:
			w.text(token, at)
		case html.StartTagToken, html.SelfClosingTagToken:
			if err := w.startTag(z, kind == html.SelfClosingTagToken, at, len(token)); err != nil {
				return err
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			w.endTag(tagName(name))
		case html.CommentToken, html.DoctypeToken:
		}
		at += len(token)
		if w.scribe.err != nil {
			return w.scribe.err
		}
	}
}

// The marks around a section of character data.
const (
	cdataStart = "<![CDATA["
	cdataEnd   = "]]>"
)

func (w *walker) text(raw []byte, at int) {
	if w.top().hidden {
		return
	}
	if inner, ok := bytes.CutPrefix(raw, []byte(cdataStart)); ok {
		w.scribe.text(bytes.TrimSuffix(inner, []byte(cdataEnd)), at+len(cdataStart), verbatim)
		return
	}
	w.scribe.text(raw, at, entities)
}

func (w *walker) top() *element { return &w.stack[len(w.stack)-1] }

// tagName returns the local part of a tag's name.
func tagName(name []byte) string {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if a := atom.Lookup(name); a != 0 {
		return a.String()
	}
	return string(name)
}

func (w *walker) startTag(z *html.Tokenizer, empty bool, at, width int) error {
	raw, more := z.TagName()
	name := tagName(raw)
	w.attrs.read(z, more)
	if empty {
		z.NextIsNotRawText()
	}
	return w.open(name, &w.attrs, empty, at, width)
}

// open begins an element whose start tag is the width bytes at offset at.
func (w *walker) open(name string, a *attributes, empty bool, at, width int) error {
	r := roles[name]
	w.closeImplied(name)
	parent := w.top()
	if target := w.targets[string(a.id)]; target != nil && len(a.id) > 0 {
		w.begin(target)
	}
	e := element{
		name: name, role: r, hidden: parent.hidden || r&roleHidden != 0 || a.hides() || name == "math" && len(a.alttext) > 0,
		stanza: parent.stanza, pre: parent.pre || r&rolePre != 0, cell: parent.cell && name != "table" || r&roleCell != 0,
		sup: parent.sup || name == "sup", level: parent.level, lang: parent.lang, mark: parent.mark, alphabet: parent.alphabet,
	}
	e.apply(a)
	if name == "link" && w.lexicons != nil && bytes.Contains(a.rel, []byte("pronunciation")) {
		w.lexicons(string(a.href))
	}
	if r&roleBlock != 0 && !parent.hidden {
		w.boundary(&e, parent)
	}
	if r&roleHeading != 0 {
		e.level = int(name[1] - '0')
	}
	if !parent.hidden {
		w.replaced(name, a, at, width)
	}
	if empty || r&roleVoid != 0 {
		if r&roleBlock != 0 && !parent.hidden {
			w.boundary(&e, parent)
		}
		return nil
	}
	if len(w.stack) >= w.depth {
		return invalid("%s nests its elements more than %d deep", document(w.scribe.document), w.depth)
	}
	e.from = w.scribe.here()
	w.stack = append(w.stack, e)
	w.restore()
	return nil
}

// begin lets a chapter begin at this place: with the passage being written if
// it has no text yet, else with the next.
func (w *walker) begin(h *heading) {
	w.scribe.next = h
}

// replaced speaks or separates what an element without text of its own stands for.
func (w *walker) replaced(name string, a *attributes, at, width int) {
	switch name {
	case "br":
		if w.scribe.gap&gapLine != 0 && !w.top().stanza {
			w.endBlock() // an empty line
			return
		}
		w.scribe.line()
	case "img", "image":
		if text := a.spokenImage(); text != "" {
			w.scribe.atom(text, at, width)
		}
	case "math":
		if len(a.alttext) > 0 {
			w.scribe.atom(string(a.alttext), at, width)
		}
	}
}

// boundary ends the block before e or after it.
func (w *walker) boundary(e, parent *element) {
	switch {
	case e.role&roleCell != 0:
		w.scribe.cell()
	case parent.stanza && e.role&(roleRow|roleHeading) == 0:
		w.scribe.line()
	case parent.cell:
		w.scribe.block()
	default:
		w.scribe.flush()
	}
}

// endBlock ends the block that is being written.
func (w *walker) endBlock() {
	if w.top().cell {
		w.scribe.block()
		return
	}
	w.scribe.flush()
}

// restore gives the scribe the state of the innermost element.
func (w *walker) restore() {
	e := w.top()
	w.scribe.lang, w.scribe.level, w.scribe.mark, w.scribe.lines = e.lang, e.level, e.mark, e.pre
}

// closeImplied closes the elements that cannot stay open around a new one.
func (w *walker) closeImplied(name string) {
	closes := implied[name]
	if closes == nil {
		return
	}
	for i := len(w.stack) - 1; i > 0; i-- {
		open := w.stack[i].name
		if slices.Contains(closes.elements, open) {
			w.closeTo(i)
			return
		}
		block := w.stack[i].role&roleBlock != 0
		if slices.Contains(closes.barriers, open) || block && !closes.any && !slices.Contains(closes.through, open) {
			return
		}
	}
}

// endTag closes the innermost open element called name. Elements left open
// inside it are closed with it, except that an inline element never closes a
// block around which it was misnested.
func (w *walker) endTag(name string) {
	r := roles[name]
	if name == "br" { // </br> is read as <br>
		w.scribe.line()
		return
	}
	for i := len(w.stack) - 1; i > 0; i-- {
		if w.stack[i].name == name {
			w.closeTo(i)
			return
		}
		if r&roleBlock == 0 && w.stack[i].role&roleBlock != 0 {
			w.splice(name, i)
			return
		}
		if w.stack[i].role&roleCell != 0 && r&(roleCell|roleRow|roleTable) == 0 {
			return // a stray end tag does not leave its table cell
		}
	}
}

// splice takes the element called name out of the stack below i and leaves the
// blocks inside it open.
func (w *walker) splice(name string, i int) {
	for ; i > 0; i-- {
		if w.stack[i].name == name {
			hidden := w.stack[i].hidden && !w.stack[i-1].hidden
			w.stack = append(w.stack[:i], w.stack[i+1:]...)
			for k := i; hidden && k < len(w.stack); k++ {
				w.stack[k].hidden = false
			}
			w.restore()
			return
		}
	}
}

// closeTo closes the elements from index i on.
func (w *walker) closeTo(i int) {
	for len(w.stack) > i {
		e := w.top()
		parent := &w.stack[len(w.stack)-2]
		w.label(e, parent)
		if e.phonemes != "" && !e.hidden {
			w.scribe.say(e.from, Pronunciation{Alphabet: e.alphabet, Phonemes: e.phonemes})
		}
		if e.role&roleBlock != 0 && !parent.hidden {
			w.boundary(e, parent)
		}
		w.stack = w.stack[:len(w.stack)-1]
	}
	w.restore()
}

// label takes back the text of e if it is a label that is not spoken.
func (w *walker) label(e, parent *element) {
	if e.label == noLabel || e.hidden {
		parent.dropped = parent.dropped || e.dropped && e.role&roleBlock == 0
		return
	}
	if e.sup && e.name == "sup" {
		parent.spoken = parent.spoken || parent.label == textLink
	}
	text, ok := w.scribe.since(e.from)
	if !ok {
		return
	}
	drop := false
	switch e.label {
	case noteLink:
		drop = !holdsWords(string(text))
	case textLink:
		drop = isNoteMark(string(text), e.sup || e.spoken)
		if !drop && plainMark.Match(text) && w.scribe.unbracket(e.from) {
			parent.dropped = true
			return
		}
	case supBox:
		drop = e.dropped && !speakable(string(text))
	case lineNumber:
		drop = isNumber(string(text))
	case noLabel:
	}
	if drop {
		w.scribe.rewind(e.from)
	}
	parent.dropped = parent.dropped || drop && e.label != lineNumber || e.dropped && e.role&roleBlock == 0
}

// internalSubset returns where the content of a document begins after a
// document type declaration with declarations of its own, and the entities
// declared there. Values are taken as plain text, never expanded again.
func internalSubset(text []byte) (start int, entities map[string]string) {
	const (
		head       = 4 << 10 // where the declaration must begin
		subset     = 64 << 10
		mostValues = 256
	)
	at := bytes.Index(bytes.ToUpper(text[:min(len(text), head)]), []byte("<!DOCTYPE"))
	if at < 0 {
		return 0, nil
	}
	rest := text[at:min(len(text), at+subset)]
	open, end := bytes.IndexByte(rest, '['), bytes.IndexByte(rest, '>')
	if open < 0 || end >= 0 && end < open {
		return 0, nil
	}
	bracket := bytes.Index(rest, []byte("]>"))
	if bracket < 0 {
		return 0, nil
	}
	entities = map[string]string{}
	for _, m := range entityDeclaration.FindAllSubmatch(rest[open:bracket], mostValues) {
		value := strings.Trim(string(m[2]), `"'`)
		entities[string(m[1])] = html.UnescapeString(value)
	}
	return at + bracket + len("]>"), entities
}
