package readalong

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// composed is a book of its own.
type composed struct {
	meta Meta
	to   *packer

	tape     tape
	titles   []string
	chapter  Chapter
	body     bytes.Buffer // of the chapter
	overlay  overlay      // of the chapter
	writing  bool         // a chapter is open
	open     bool         // a paragraph is
	last     rune         // of its text
	sentence int
	files    []added
	counts   Counts
}

const composedFolder = "EPUB"

// Compose begins a book of chapters and sentences, and writes it to w.
func Compose(w io.Writer, m Meta) (Book, error) {
	to, err := newPacker(w)
	if err != nil {
		return nil, err
	}
	m.Title = cmp.Or(strings.TrimSpace(m.Title), "Untitled")
	return &composed{meta: m, to: to}, to.put(containerName, []byte(`<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="EPUB/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
`))
}

func (b *composed) Counts() Counts { return b.counts }

func (b *composed) Begin(c Chapter) error {
	if err := b.leave(); err != nil {
		return err
	}
	b.titles = append(b.titles, cmp.Or(strings.TrimSpace(c.Title), fmt.Sprintf("Chapter %d", len(b.titles)+1)))
	if c.Audio != "" {
		c.Audio = path.Join(composedFolder, c.Audio)
	}
	b.tape.load(c)
	b.chapter, b.sentence, b.writing = c, 0, true
	return nil
}

// Add writes a segment into its paragraph; the title of the chapter, where it is the first, is
// its heading.
func (b *composed) Add(s Segment) error {
	title := b.titles[len(b.titles)-1]
	tag := "p"
	if !b.open {
		switch first := b.body.Len() == 0; {
		case first && sameWords(s.Text, title):
			tag, s.Paragraph = "h1", true
		case first && b.chapter.Title != "":
			fmt.Fprintf(&b.body, "<h1>%s</h1>\n", escape(title))
		}
		fmt.Fprintf(&b.body, "<%s>", tag)
	} else if first, _ := utf8.DecodeRuneInString(s.Text); !timeline.Wide(b.last) || !timeline.Wide(first) {
		b.body.WriteByte(' ')
	}
	b.write(s)
	b.last, _ = utf8.DecodeLastRuneInString(s.Text)
	if b.open = !s.Paragraph; !b.open {
		fmt.Fprintf(&b.body, "</%s>\n", tag)
	}
	return nil
}

// write puts each sentence into a span of its own.
func (b *composed) write(s Segment) {
	b.counts.Sentences += len(s.Sentences)
	if len(s.Sentences) == 0 {
		b.body.WriteString(escape(s.Text))
		return
	}
	lang := ""
	if s.Language != "" && s.Language != b.meta.Language {
		lang = fmt.Sprintf(` xml:lang="%[1]s" lang="%[1]s"`, escape(s.Language))
	}
	for i, sentence := range s.Sentences {
		from, to := sentence.At, len(s.Text)
		if i == 0 {
			from = 0
		}
		if i+1 < len(s.Sentences) {
			to = s.Sentences[i+1].At
		}
		text := strings.TrimRight(s.Text[from:to], " ")
		b.sentence++
		id := fmt.Sprintf("s%d", b.sentence)
		fmt.Fprintf(&b.body, `<span id="%s"%s>%s</span>%s`, id, lang, escape(text), s.Text[from+len(text):to])
		b.tape.play(&b.overlay, id, sentence.Millis)
	}
}

// sameWords reports whether two texts have the same letters.
func sameWords(a, b string) bool {
	x, y := glyphsOf(strings.ToLower(a)), glyphsOf(strings.ToLower(b))
	return len(x) > 0 && len(x) == len(y) && agree(x, y)
}

// leave writes the chapter that is open.
func (b *composed) leave() error {
	if !b.writing {
		return nil
	}
	b.writing = false
	b.tape.load(Chapter{})
	n := len(b.titles)
	if b.open {
		b.body.WriteString("</p>\n")
		b.open = false
	}
	page := added{id: fmt.Sprintf("c%d", n), name: fmt.Sprintf("%s/chapter-%03d.xhtml", composedFolder, n), media: mediaXHTM}
	if len(b.overlay.clips) > 0 {
		smil := added{id: fmt.Sprintf("o%d", n), name: fmt.Sprintf("%s/chapter-%03d.smil", composedFolder, n), media: mediaSMIL, millis: b.overlay.millis()}
		page.overlay = smil.id
		b.files = append(b.files, smil)
		if err := b.to.put(smil.name, b.overlay.write(smil.name, page.name)); err != nil {
			return err
		}
	}
	b.files = append(b.files, page)
	text := xhtml(b.meta.Language, b.titles[n-1], b.body.String())
	b.body.Reset()
	b.overlay = overlay{}
	return b.to.put(page.name, text)
}

// xhtml returns a page with a body.
func xhtml(language, title, body string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="%[1]s" lang="%[1]s">
<head><title>%[2]s</title><link rel="stylesheet" type="text/css" href="read-along.css"/></head>
<body>
%[3]s</body>
</html>
`, escape(language), escape(title), body)
}

// Audio stores the file of a chapter whose name [Book.Begin] was told.
func (b *composed) Audio(c Chapter, size int64, sum uint32, r io.Reader) error {
	if err := b.leave(); err != nil {
		return err
	}
	name := path.Join(composedFolder, c.Audio)
	b.files = append(b.files, added{id: fmt.Sprintf("a%d", len(b.files)), name: name, media: c.Media})
	return b.to.stream(name, size, sum, r)
}

// Close writes the navigation and the package document.
func (b *composed) Close() error {
	if err := b.leave(); err != nil {
		return err
	}
	b.files = append(b.files, added{id: "css", name: composedFolder + "/read-along.css", media: "text/css"},
		added{id: "nav", name: composedFolder + "/nav.xhtml", media: mediaXHTM, properties: "nav"})
	if err := b.to.put(composedFolder+"/read-along.css", []byte(styleSheet)); err != nil {
		return err
	}
	var toc, spine strings.Builder
	for i, title := range b.titles {
		fmt.Fprintf(&toc, "<li><a href=\"chapter-%03d.xhtml\">%s</a></li>\n", i+1, escape(title))
		fmt.Fprintf(&spine, "<itemref idref=\"c%d\"/>\n", i+1)
	}
	nav := xhtml(b.meta.Language, b.meta.Title, fmt.Sprintf("<nav epub:type=\"toc\"><h1>%s</h1><ol>\n%s</ol></nav>\n", escape(b.meta.Title), toc.String()))
	if err := b.to.put(composedFolder+"/nav.xhtml", nav); err != nil {
		return err
	}
	if err := b.to.put(composedFolder+"/package.opf", b.packageFile(spine.String())); err != nil {
		return err
	}
	return b.to.zip.Close()
}

func (b *composed) packageFile(spine string) []byte {
	m := b.meta
	var more strings.Builder
	if m.Author != "" {
		fmt.Fprintf(&more, "<dc:creator>%s</dc:creator>\n", escape(m.Author))
	}
	modified := "1980-01-01T00:00:00Z"
	if m.Year > 0 {
		fmt.Fprintf(&more, "<dc:date>%04d</dc:date>\n", m.Year)
		modified = fmt.Sprintf("%04d-01-01T00:00:00Z", m.Year)
	}
	more.WriteString(spokenMetadata("meta", m, b.files))
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="%[1]s">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">%[2]s</dc:identifier>
<dc:title>%[3]s</dc:title>
<dc:language>%[1]s</dc:language>
<meta property="dcterms:modified">%[4]s</meta>
%[5]s</metadata>
<manifest>
%[6]s</manifest>
<spine>
%[7]s</spine>
</package>
`, escape(m.Language), escape(m.Identifier), escape(m.Title), modified, more.String(), itemsOf("item", composedFolder+"/package.opf", b.files), spine)
}
