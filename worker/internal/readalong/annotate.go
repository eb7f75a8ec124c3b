package readalong

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/voicemill/voicemill/platform/ocf"
)

// annotated is a foreign EPUB with what is new.
type annotated struct {
	meta   Meta
	from   *archive
	opf    *packageFile
	to     *packer
	folder string // of what is new

	tape     tape
	open     *marker  // the document that is being read
	overlay  *overlay // of it
	done     map[string]bool
	overlays map[string]string // ids of overlays, by document
	changed  map[*zip.File]bool
	files    []added
	counts   Counts
}

// Annotate begins the EPUB that is read from source, of size bytes, with overlays, and writes it
// to w. The error wraps [ErrUnfit] if it cannot be annotated, before anything is written. Overlays
// that it has go. The source is read until the book is closed.
func Annotate(w io.Writer, m Meta, source io.ReaderAt, size int64) (Book, error) {
	from, err := openArchive(source, size)
	if err != nil {
		return nil, err
	}
	opf, err := openPackage(from)
	if err != nil {
		return nil, err
	}
	b := &annotated{meta: m, from: from, opf: opf, done: map[string]bool{}, overlays: map[string]string{}, changed: map[*zip.File]bool{}}
	b.folder = opf.folder(from)
	b.to, err = newPacker(w)
	return b, err
}

func (b *annotated) Counts() Counts { return b.counts }

func (b *annotated) Begin(c Chapter) error {
	if c.Audio != "" {
		c.Audio = path.Join(b.folder, c.Audio)
	}
	b.tape.load(c)
	return nil
}

// Add finds the sentences of s in their document.
func (b *annotated) Add(s Segment) error {
	if len(s.Sentences) == 0 {
		return nil
	}
	b.counts.Sentences += len(s.Sentences)
	if err := b.turn(s); err != nil {
		return err
	}
	d := b.open
	if d == nil || d.name != s.Document || s.Start < 0 || s.End > len(d.raw) || s.Start >= s.End {
		b.tape.pass(s.Sentences[0].Millis)
		b.counts.Unplaced += len(s.Sentences)
		return nil
	}
	places, last := d.locate(s), 0
	for i, p := range places {
		if p.end == 0 {
			b.around(s, p.millis)
			continue
		}
		high := s.End
		if i+1 < len(places) && places[i+1].end > 0 {
			high = places[i+1].start
		}
		whole := d.fit(p, max(s.Start, last), high)
		whole.start, last = max(whole.start, last), whole.end
		if !b.light(p, whole) {
			b.around(s, p.millis)
		}
	}
	return nil
}

// light has the pieces of a sentence light up, which is the whole; false if no element can hold one.
func (b *annotated) light(p place, whole piece) bool {
	lit := false
	for _, one := range b.open.pieces(whole) {
		id, ok := b.open.hold(one)
		if !ok {
			continue
		}
		millis := p.millis
		for _, w := range p.words {
			if lit && w.at >= one.start {
				millis = max(w.millis, millis)
				break
			}
		}
		b.tape.play(b.overlay, id, millis)
		lit = true
	}
	return lit
}

// around has the element light up in which a segment begins.
func (b *annotated) around(s Segment, millis int64) {
	for i := b.open.around(s.Start); i >= 0; i = b.open.elements[i].parent {
		if e := b.open.elements[i]; e.hidden || e.foreignContent || e.name == "html" {
			continue
		}
		if id, ok := b.open.identify(i); ok {
			b.counts.Elements++
			b.tape.play(b.overlay, id, millis)
			return
		}
	}
	b.counts.Unplaced++
	b.tape.pass(millis)
}

// turn opens the document of a segment, once.
func (b *annotated) turn(s Segment) error {
	if b.open != nil && b.open.name == s.Document {
		return nil
	}
	b.tape.stop(s.Sentences[0].Millis)
	if err := b.leave(); err != nil || s.Document == "" || b.done[s.Document] {
		return err
	}
	b.done[s.Document] = true
	if !b.opf.content(s.Document) {
		return nil
	}
	raw, err := b.from.read(s.Document, mostDocument)
	if err != nil {
		return skipUnfit(err)
	}
	d, err := parse(s.Document, raw, func(string) bool { return false })
	if err != nil {
		return skipUnfit(err)
	}
	b.open, b.overlay = &marker{document: d, prefix: free(raw, "vm-")}, &overlay{}
	return nil
}

// skipUnfit leaves a document as it is that cannot be read as markup.
func skipUnfit(err error) error {
	if errors.Is(err, ErrUnfit) {
		return nil
	}
	return err
}

// leave writes the open document and its overlay. All of its clips have ended.
func (b *annotated) leave() error {
	d, o := b.open, b.overlay
	b.open, b.overlay = nil, nil
	if d == nil || len(o.clips) == 0 {
		return nil
	}
	n := len(b.overlays) + 1
	smil := added{id: fmt.Sprintf("%so%d", b.opf.ids, n), name: fmt.Sprintf("%s/overlay-%03d.smil", b.folder, n), media: mediaSMIL, millis: o.millis()}
	b.files, b.overlays[d.name] = append(b.files, smil), smil.id
	if head := d.first("head"); head >= 0 && d.elements[head].outside < d.elements[head].end && d.elements[head].qualified == len("head") {
		d.edits = append(d.edits, edit{at: d.elements[head].outside, text: fmt.Sprintf(`<link rel="stylesheet" type="text/css" href="%s"/>`, escape(link(d.name, b.style())))})
	}
	f := b.from.File(d.name)
	b.changed[f] = true
	if err := b.to.put(f.Name, apply(d.raw, d.edits)); err != nil {
		return err
	}
	return b.to.put(smil.name, o.write(smil.name, d.name))
}

func (b *annotated) style() string { return b.folder + "/read-along.css" }

// Audio stores the file of a chapter whose name [Book.Begin] was told.
func (b *annotated) Audio(c Chapter, size int64, sum uint32, r io.Reader) error {
	if err := b.text(); err != nil {
		return err
	}
	name := path.Join(b.folder, c.Audio)
	b.files = append(b.files, added{id: fmt.Sprintf("%sa%d", b.opf.ids, len(b.files)+1), name: name, media: c.Media})
	return b.to.stream(name, size, sum, r)
}

// text ends what is spoken.
func (b *annotated) text() error {
	b.tape.load(Chapter{})
	return b.leave()
}

// Close copies what is not changed, and writes the package document.
func (b *annotated) Close() error {
	if err := b.text(); err != nil {
		return err
	}
	b.files = append(b.files, added{id: b.opf.ids + "css", name: b.style(), media: "text/css"})
	if err := b.to.put(b.style(), []byte(styleSheet)); err != nil {
		return err
	}
	b.changed[b.from.File(b.opf.name)] = true
	for _, f := range b.from.Files {
		name := ocf.Clean(f.Name)
		signed := strings.EqualFold(name, "META-INF/signatures.xml") // of other bytes
		if name == "mimetype" || b.changed[f] || b.opf.removed[name] || signed {
			continue
		}
		if err := b.to.zip.Copy(f); err != nil {
			return fmt.Errorf("copy %q: %w", f.Name, err)
		}
	}
	if err := b.to.put(b.from.File(b.opf.name).Name, b.opf.finish(b.meta, b.overlays, b.files)); err != nil {
		return err
	}
	return b.to.zip.Close()
}
