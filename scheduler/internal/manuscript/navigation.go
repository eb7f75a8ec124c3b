package manuscript

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/voicemill/voicemill/platform/ocf"
)

// navPoint is an entry of a table of contents.
type navPoint struct {
	title, file, fragment string
}

// landmark is a place that the book names by its kind.
type landmark struct {
	title, file, fragment string
	mark                  mark
	body                  bool // the work itself begins here
}

const mostNavPoints = 20_000

// readNav returns the table of contents and the landmarks of an EPUB 3
// navigation document. Entries marked hidden are left out.
func readNav(doc *decoded, name string) (toc []navPoint, marks []landmark) {
	z := html.NewTokenizer(bytes.NewReader(doc.text))
	n := navReader{file: name}
	for {
		switch z.Next() {
		case html.ErrorToken:
			return n.toc, n.marks
		case html.StartTagToken:
			n.open(z)
		case html.SelfClosingTagToken:
			z.NextIsNotRawText()
		case html.EndTagToken:
			tag, _ := z.TagName()
			n.close(tagName(tag))
		case html.TextToken:
			if n.inLink {
				n.text.Write(z.Text())
			}
		case html.CommentToken, html.DoctypeToken:
		}
		if len(n.toc) > mostNavPoints {
			return n.toc, n.marks
		}
	}
}

// navReader is the state of readNav.
type navReader struct {
	file   string
	toc    []navPoint
	marks  []landmark
	kind   string // "toc", "landmarks", or "" outside both
	hidden int    // how many lists deep in a hidden one
	inLink bool
	href   string
	types  []byte
	text   bytes.Buffer
}

func (n *navReader) open(z *html.Tokenizer) {
	raw, more := z.TagName()
	tag := tagName(raw)
	var a attributes
	a.read(z, more)
	switch tag {
	case "nav":
		switch {
		case hasToken(a.types, "toc") || hasToken(a.ariaRole, "doc-toc"):
			n.kind = "toc"
		case hasToken(a.types, "landmarks"):
			n.kind = "landmarks"
		default:
			n.kind = ""
		}
	case "ol", "ul":
		if n.hidden > 0 || a.hidden && n.kind == "toc" {
			n.hidden++
		}
	case "a":
		if n.kind != "" && n.hidden == 0 && len(a.href) > 0 {
			n.inLink, n.href, n.types = true, string(a.href), bytes.Clone(a.types)
			n.text.Reset()
		}
	case "img":
		if n.inLink && n.text.Len() == 0 {
			n.text.Write(a.alt)
		}
	}
}

func (n *navReader) close(tag string) {
	switch tag {
	case "nav":
		n.kind = ""
	case "ol", "ul":
		n.hidden = max(0, n.hidden-1)
	case "a":
		if !n.inLink {
			return
		}
		n.inLink = false
		file, fragment := ocf.Resolve(n.file, n.href)
		title := folded(n.text.String())
		if n.kind == "toc" {
			n.toc = append(n.toc, navPoint{title, file, fragment})
			return
		}
		n.marks = append(n.marks, newLandmark(title, file, fragment, n.types))
	}
}

func newLandmark(title, file, fragment string, types []byte) landmark {
	body := hasToken(types, "bodymatter") || hasToken(types, "text") || hasToken(types, "start")
	return landmark{title, file, fragment, structure(types, nil), body}
}

// readNCX returns the table of contents of an EPUB 2.
func readNCX(raw []byte, name string) ([]navPoint, error) {
	dec := xml.NewDecoder(bytes.NewReader(withoutUTF16(raw)))
	dec.Strict, dec.Entity, dec.CharsetReader = false, xml.HTMLEntity, charset.NewReaderLabel
	var (
		toc    []navPoint
		open   []int // indices of the points that are open
		inText bool
	)
	for len(toc) <= mostNavPoints {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, invalidBecause(err, "the file %s in the EPUB is not readable XML", shown(name))
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "navPoint":
				open = append(open, len(toc))
				toc = append(toc, navPoint{})
			case "text":
				inText = len(open) > 0
			case "content":
				if len(open) > 0 {
					p := &toc[open[len(open)-1]]
					p.file, p.fragment = ocf.Resolve(name, attr(t, "src", ""))
				}
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "navPoint":
				if len(open) > 0 {
					open = open[:len(open)-1]
				}
			case "text":
				inText = false
			}
		case xml.CharData:
			if inText {
				p := &toc[open[len(open)-1]]
				p.title = strings.TrimSpace(p.title + string(t))
			}
		}
	}
	for i := range toc {
		toc[i].title = folded(toc[i].title)
	}
	return toc, nil
}
