package manuscript

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/voicemill/voicemill/platform/ocf"
)

// book is an opened EPUB.
type book struct {
	doc     *Document
	archive *archive
	spine   []spineFile
	left    int64 // of Limits.TotalBytes, once the frame was read
	hasNav  bool  // chapters follow a table of contents, not headings
}

// spineFile is one document in reading order.
type spineFile struct {
	name      string // in the archive
	mark      mark
	title     string              // by a landmark; may be empty
	entries   map[string]*heading // chapters by fragment; "" is the start
	isNav     bool
	nonLinear bool
}

// openEPUB reads the frame of an EPUB and proves that its reading order is
// whole.
func (d *Document) openEPUB(ctx context.Context, r io.ReaderAt, size int64) error {
	a, err := openArchive(r, size, d.opts.Limits)
	if err != nil {
		return err
	}
	opf, err := a.packageName()
	if err != nil {
		return err
	}
	var p packageDocument
	if err := a.unmarshal(opf, &p); err != nil {
		return err
	}
	d.About = p.about()
	for _, lang := range p.Languages {
		if d.Language == "" {
			d.Language = strings.TrimSpace(lang)
		}
	}
	b := &book{doc: d, archive: a}
	if err := b.readSpine(opf, &p); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.refuseProtected(opf); err != nil {
		return err
	}
	toc, marks, err := b.navigation(opf, &p)
	if err != nil {
		return err
	}
	b.place(toc, marks)
	if d.opts.Cover {
		d.Cover = b.cover(opf, &p)
	}
	b.left = a.left
	d.source = b
	return nil
}

// readSpine fills b.spine. Every document of the reading order must exist.
func (b *book) readSpine(opf string, p *packageDocument) error {
	seen := map[string]bool{}
	byID := make(map[string]*manifestItem, len(p.Items))
	for i := range p.Items {
		byID[p.Items[i].ID] = &p.Items[i]
	}
	for _, ref := range p.Spine.Refs {
		item := byID[ref.ID]
		if item == nil {
			return invalid("the reading order of the EPUB names %s, which its manifest does not list", shown(ref.ID))
		}
		item = readable(item, byID)
		if item == nil {
			continue // a picture or another file without text
		}
		name, _ := ocf.Resolve(opf, item.Href)
		if !b.archive.has(name) {
			return invalid("the EPUB lacks the file %s, which its reading order names", shown(name))
		}
		if seen[name] {
			continue // spoken once, whatever the order repeats
		}
		seen[name] = true
		b.spine = append(b.spine, spineFile{
			name: name, nonLinear: strings.EqualFold(strings.TrimSpace(ref.Linear), "no"),
			isNav: hasToken([]byte(item.Properties), "nav"), entries: map[string]*heading{},
		})
	}
	if len(b.spine) == 0 {
		return invalid("the EPUB has no documents in its reading order")
	}
	return nil
}

// refuseProtected fails if a file that has to be read is encrypted.
func (b *book) refuseProtected(opf string) error {
	files, err := b.archive.protected()
	if err != nil || len(files) == 0 {
		return err
	}
	for _, f := range b.spine {
		if files[strings.ToLower(f.name)] {
			return invalid("the EPUB is protected by DRM: the file %s is encrypted", shown(f.name))
		}
	}
	if files[strings.ToLower(opf)] {
		return invalid("the EPUB is protected by DRM: the file %s is encrypted", shown(opf))
	}
	return nil
}

// navigation returns the table of contents and the landmarks: from the
// navigation document, else from the NCX and the guide. One that cannot be
// found or read counts as none, for the text does not depend on it.
func (b *book) navigation(opf string, p *packageDocument) ([]navPoint, []landmark, error) {
	var toc []navPoint
	var marks []landmark
	for _, item := range p.Items {
		if name, _ := ocf.Resolve(opf, item.Href); hasToken([]byte(item.Properties), "nav") && b.archive.has(name) {
			doc, err := b.open(name)
			if err != nil {
				return nil, nil, err
			}
			toc, marks = readNav(doc, name)
			break
		}
	}
	for _, g := range p.Guide {
		name, fragment := ocf.Resolve(opf, g.Href)
		marks = append(marks, newLandmark(folded(g.Title), name, fragment, []byte(strings.ToLower(g.Type))))
	}
	if len(toc) > 0 {
		return toc, marks, nil
	}
	ncx := p.item(p.Spine.TOC)
	for i := range p.Items {
		if ncx == nil && p.Items[i].Type == "application/x-dtbncx+xml" {
			ncx = &p.Items[i]
		}
	}
	if ncx == nil {
		return nil, marks, nil
	}
	name, _ := ocf.Resolve(opf, ncx.Href)
	if !b.archive.has(name) {
		return nil, marks, nil
	}
	raw, err := b.archive.frame(name)
	if err != nil {
		return nil, nil, err
	}
	toc, err = readNCX(raw, name)
	return toc, marks, err
}

// open reads and decodes a document of the archive.
func (b *book) open(name string) (*decoded, error) {
	raw, err := b.archive.read(name)
	if err != nil {
		return nil, err
	}
	return decode(raw, "", name, true)
}

// place gives each document of the spine its chapters and its matter.
func (b *book) place(toc []navPoint, marks []landmark) {
	byName := make(map[string]int, len(b.spine))
	for i, f := range slices.Backward(b.spine) {
		byName[strings.ToLower(f.name)] = i
	}
	bodyAt := -1
	for _, m := range marks {
		i, ok := byName[strings.ToLower(m.file)]
		if !ok {
			continue
		}
		if m.body && (bodyAt < 0 || i < bodyAt) {
			bodyAt = i
		}
		f := &b.spine[i]
		if m.fragment == "" && m.mark.known && !f.mark.known {
			f.mark, f.title = m.mark, m.title
			f.mark.division = false
		}
	}
	first := b.firstBody(bodyAt)
	for i := range b.spine {
		f := &b.spine[i]
		switch {
		case f.mark.known:
		case f.nonLinear && i < first, i < bodyAt:
			f.mark = mark{matter: Front, known: true}
		case f.nonLinear:
			f.mark = mark{matter: Back, known: true}
		}
	}
	for _, point := range toc {
		i, ok := byName[strings.ToLower(point.file)]
		if !ok || b.spine[i].isNav {
			continue
		}
		b.hasNav = true
		if b.spine[i].entries[point.fragment] == nil {
			b.spine[i].entries[point.fragment] = &heading{title: point.title}
		}
	}
}

// firstBody returns the first document of the spine that is not known to be
// before the work itself.
func (b *book) firstBody(bodyAt int) int {
	if bodyAt >= 0 {
		return bodyAt
	}
	for i, f := range b.spine {
		if !f.nonLinear && !f.isNav && (!f.mark.known || f.mark.matter == Body) {
			return i
		}
	}
	return 0
}

// read implements source.
func (b *book) read(to *binder) error {
	var last mark
	lexica := map[string]*lexicon{}
	b.archive.left = b.left
	for i := range b.spine {
		f := &b.spine[i]
		if f.isNav && f.nonLinear {
			continue
		}
		doc, err := b.open(f.name)
		if err != nil {
			return err
		}
		if f.isNav && !b.holdsProse(f, doc) {
			continue
		}
		if err := b.readFile(f, doc, to, last, lexica); err != nil {
			return err
		}
		last = f.mark
	}
	return nil
}

// readFile passes the text of one document to the binder, where last is the mark of
// the document before.
func (b *book) readFile(f *spineFile, doc *decoded, to *binder, last mark, lexica map[string]*lexicon) error {
	s := &scribe{emit: to.add, src: doc, document: f.name}
	w := newWalker(s, doc, b.doc.opts.Limits.Depth)
	w.targets, s.next = f.targets(doc)
	to.split = 0
	if !b.hasNav {
		to.split = chapterLevel(doc)
		s.next = &heading{title: f.title}
	} else if s.next == nil && (f.mark != last || f.nonLinear) {
		s.next = &heading{title: f.title}
	}
	to.cutter.lexicons = nil
	w.lexicons = func(href string) {
		if lex := b.lexicon(f.name, href, lexica); lex != nil {
			to.cutter.lexicons = append(to.cutter.lexicons, lex)
		}
	}
	err := w.walk("", f.mark)
	to.carried = nil
	return err
}

// targets returns the chapters that begin at elements of the document, and the
// one that begins with it: the entry without a fragment, else one whose
// fragment does not exist.
func (f *spineFile) targets(doc *decoded) (inside map[string]*heading, whole *heading) {
	inside = map[string]*heading{}
	ids := f.ids(doc)
	for _, fragment := range slices.Sorted(maps.Keys(f.entries)) {
		switch h := f.entries[fragment]; {
		case fragment != "" && ids[fragment]:
			inside[fragment] = h
		case whole == nil:
			whole = h
		}
	}
	return inside, whole
}

// ids returns which fragments of f's entries the document has.
func (f *spineFile) ids(doc *decoded) map[string]bool {
	found := make(map[string]bool, len(f.entries))
	if len(f.entries) == 0 || len(f.entries) == 1 && f.entries[""] != nil {
		return found
	}
	z := html.NewTokenizer(bytes.NewReader(doc.text))
	var a attributes
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return found
		case html.StartTagToken, html.SelfClosingTagToken:
			_, more := z.TagName()
			a.read(z, more)
			if f.entries[string(a.id)] != nil {
				found[string(a.id)] = true
			}
			if kind == html.SelfClosingTagToken {
				z.NextIsNotRawText()
			}
		case html.TextToken, html.EndTagToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

// lexicon returns the pronunciation lexicon that the document base links as
// href, nil if there is none that can be read: the words are spoken without it.
func (b *book) lexicon(base, href string, known map[string]*lexicon) *lexicon {
	name, _ := ocf.Resolve(base, href)
	if lex, ok := known[name]; ok || !b.archive.has(name) {
		return lex
	}
	known[name] = nil
	if doc, err := b.open(name); err == nil {
		if lex, err := readLexicon(doc.text, name); err == nil {
			known[name] = lex
		}
	}
	return known[name]
}

// holdsProse reports whether a navigation document has text besides its lists
// and their headings.
func (b *book) holdsProse(f *spineFile, doc *decoded) bool {
	found := false
	s := &scribe{src: doc, document: f.name, emit: func(p *passage) error {
		found = found || p.level == 0 && speakable(string(p.text))
		return nil
	}}
	err := newWalker(s, doc, b.doc.opts.Limits.Depth).walk("", mark{})
	return found || err != nil // the error is found again, and reported, by the reading
}
