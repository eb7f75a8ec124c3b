package manuscript

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// page is an opened HTML or XHTML document.
type page struct {
	doc   *decoded
	split int
	depth int
}

// readWhole returns the bytes of a document that is one file.
func (d *Document) readWhole(r io.ReaderAt, size int64) ([]byte, error) {
	if size > d.opts.Limits.DocumentBytes {
		return nil, tooLarge("the document is larger than %s", bytesText(d.opts.Limits.DocumentBytes))
	}
	raw := make([]byte, size)
	n, err := io.ReadFull(io.NewSectionReader(r, 0, size), raw)
	if err != nil && int64(n) < size {
		return nil, err
	}
	return raw, nil
}

// openMarkup reads the head of an HTML document.
func (d *Document) openMarkup(r io.ReaderAt, size int64, params string) error {
	raw, err := d.readWhole(r, size)
	if err != nil {
		return err
	}
	doc, err := decode(raw, charsetParam(params), "", true)
	if err != nil {
		return err
	}
	d.readHead(doc)
	d.source = &page{doc: doc, split: chapterLevel(doc), depth: d.opts.Limits.Depth}
	return nil
}

// read implements source.
func (p *page) read(to *binder) error {
	to.split = p.split
	s := &scribe{emit: to.add, src: p.doc}
	return newWalker(s, p.doc, p.depth).walk("", mark{})
}

// readHead takes title, author and language from the head of a document.
func (d *Document) readHead(doc *decoded) {
	start, _ := internalSubset(doc.text)
	z := html.NewTokenizer(bytes.NewReader(doc.text[start:]))
	inTitle := false
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return
		case html.TextToken:
			if inTitle {
				d.About.Title = folded(string(z.Text()))
			}
			inTitle = false
		case html.StartTagToken, html.SelfClosingTagToken:
			if kind == html.SelfClosingTagToken {
				z.NextIsNotRawText()
			}
			token := z.Token()
			switch tagName([]byte(token.Data)) {
			case "html":
				d.Language = tokenAttr(token, "xml:lang", tokenAttr(token, "lang", ""))
			case "title":
				inTitle = kind == html.StartTagToken
			case "meta":
				switch content := folded(tokenAttr(token, "content", "")); strings.ToLower(tokenAttr(token, "name", "")) {
				case "author":
					d.About.Author = content
				case "description":
					d.About.Description = content
				}
			case "body":
				return
			}
		case html.EndTagToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

func tokenAttr(t html.Token, key, fallback string) string {
	for _, a := range t.Attr {
		if a.Key == key && a.Val != "" {
			return a.Val
		}
	}
	return fallback
}

// partTitle matches the heading of a part that holds chapters.
var partTitle = regexp.MustCompile(`(?i)^\s*(?:part|book|volume|teil|buch|band|partie|livre|tome|parte|libro|часть|книга|deel)\b`)

// levels counts the headings of a document by level, and those that name parts.
type levels struct{ all, parts [7]int }

func (l *levels) add(level int, text string) {
	l.all[level]++
	if partTitle.MatchString(text) {
		l.parts[level]++
	}
}

// chapterLevel returns the deepest level whose headings begin chapters: the
// highest one that is used more than once, or the one below if the headings of
// that level name parts. 0 means that there is no heading.
func (l *levels) chapterLevel() int {
	only := 0
	for level := 1; level <= 6; level++ {
		switch {
		case l.all[level] == 0:
			continue
		case l.all[level] == 1:
			if only == 0 {
				only = level
			}
			continue
		case 2*l.parts[level] > l.all[level]:
			for below := level + 1; below <= 6; below++ {
				if l.all[below] > 1 {
					return below
				}
			}
		}
		return level
	}
	return only
}

// chapterLevel returns the level of the headings that begin chapters in doc.
func chapterLevel(doc *decoded) int {
	var l levels
	start, _ := internalSubset(doc.text)
	z := html.NewTokenizer(bytes.NewReader(doc.text[start:]))
	open := 0
	var text []byte
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return l.chapterLevel()
		case html.SelfClosingTagToken:
			z.NextIsNotRawText()
		case html.StartTagToken:
			if level := headingLevel(z); level > 0 {
				open, text = level, text[:0]
			}
		case html.EndTagToken:
			if headingLevel(z) > 0 && open > 0 {
				l.add(open, string(text))
				open = 0
			}
		case html.TextToken:
			if open > 0 && len(text) < 100 {
				text = append(text, z.Raw()...)
			}
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

// headingLevel returns the level of the heading tag that z stands at, else 0.
func headingLevel(z *html.Tokenizer) int {
	name, _ := z.TagName()
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if len(name) == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6' {
		return int(name[1] - '0')
	}
	return 0
}
