package readalong

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// element is an element of a document; offsets are in bytes.
type element struct {
	name           string // local, in small letters
	parent         int    // -1: none
	start, inside  int    // of its start tag, and behind it
	outside, end   int    // of its end tag, and behind it; inside if it is empty
	id             string
	hidden         bool // what is in it is not spoken
	label          byte // the letter that an image stands for
	qualified      int  // bytes of the name with its prefix
	properties     map[string]string
	foreignContent bool // svg or math, or within one
}

// token is a tag or a text.
type token struct {
	kind       kind
	start, end int
	element    int // whose tag it is, or whose text
}

type kind uint8

const (
	text kind = iota
	startTag
	endTag
	emptyTag
	other
)

// document is well-formed markup in UTF-8.
type document struct {
	name     string
	raw      []byte
	tokens   []token
	elements []element
}

// maxDepth bounds how deep elements nest.
const maxDepth = 512

// parse reads markup. keep says of which elements all attributes are kept.
func parse(name string, raw []byte, keep func(element string) bool) (*document, error) {
	if !utf8.Valid(raw) || declaresOther(raw) {
		return nil, unfit("Its file %q is not in UTF-8.", name)
	}
	d := &document{name: name, raw: raw}
	z := html.NewTokenizer(bytes.NewReader(raw))
	z.AllowCDATA(true)
	at, open := subset(raw), []int{}
	if at > 0 {
		z = html.NewTokenizer(bytes.NewReader(raw[at:]))
		z.AllowCDATA(true)
	}
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return nil, unfit("Its file %q is not readable markup.", name)
			}
			break
		}
		t := token{start: at, end: at + len(z.Raw()), element: -1}
		if len(open) > 0 {
			t.element = open[len(open)-1]
		}
		at = t.end
		switch kind {
		case html.TextToken:
			t.kind = text
			if bytes.HasPrefix(z.Raw(), []byte("<![CDATA[")) {
				t.kind = other // nothing can be put in there
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t.kind = startTag
			t.element = d.begin(z, t, t.element, keep)
			if kind == html.SelfClosingTagToken {
				z.NextIsNotRawText()
				t.kind = emptyTag
				d.elements[t.element].outside, d.elements[t.element].end = t.end, t.end
			} else if open = append(open, t.element); len(open) > maxDepth {
				return nil, unfit("Its file %q nests its elements more than %d deep.", name, maxDepth)
			}
		case html.EndTagToken:
			t.kind = endTag
			tag, _ := z.TagName()
			if len(open) == 0 || d.elements[t.element].name != local(tag) {
				return nil, unfit("Its file %q is not well-formed.", name)
			}
			d.elements[t.element].outside, d.elements[t.element].end = t.start, t.end
			open = open[:len(open)-1]
		default:
			t.kind = other
		}
		d.tokens = append(d.tokens, t)
	}
	if len(open) > 0 || len(d.elements) == 0 {
		return nil, unfit("Its file %q is not well-formed.", name)
	}
	return d, nil
}

// begin adds the element whose start tag z stands at.
func (d *document) begin(z *html.Tokenizer, t token, parent int, keep func(string) bool) int {
	tag, more := z.TagName()
	e := element{name: local(tag), qualified: len(tag), parent: parent, start: t.start, inside: t.end, outside: t.end, end: t.end}
	e.hidden = slices.Contains(unspoken, e.name)
	e.foreignContent = e.name == "svg" || e.name == "math"
	if parent >= 0 {
		e.hidden = e.hidden || d.elements[parent].hidden
		e.foreignContent = e.foreignContent || d.elements[parent].foreignContent
	}
	if keep(e.name) {
		e.properties = map[string]string{}
	}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		e.set(string(key), string(value))
	}
	d.elements = append(d.elements, e)
	return len(d.elements) - 1
}

func (e *element) set(key, value string) {
	if e.properties != nil {
		e.properties[key] = value
	}
	switch key {
	case "id":
		e.id = value
	case "hidden":
		e.hidden = true
	case "aria-hidden":
		e.hidden = e.hidden || value == "true"
	case "epub:type", "role":
		for word := range strings.FieldsSeq(value) {
			e.hidden = e.hidden || slices.Contains([]string{"pagebreak", "backlink", "doc-pagebreak", "doc-backlink"}, word)
		}
	case "style":
		e.hidden = e.hidden || displayNone.MatchString(value)
	case "alt":
		if len(value) == 1 && value[0] >= 'A' && value[0] <= 'Z' && e.name == "img" {
			e.label = value[0]
		}
	}
}

var displayNone = regexp.MustCompile(`(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)`)

// unspoken are the elements whose text is not spoken, as docs/manuscript.md says.
//
//nolint:gochecknoglobals // a table
var unspoken = strings.Fields(`head script style template svg rt rp rtc audio video canvas iframe object noscript noembed noframes textarea
	select button datalist applet annotation annotation-xml case pagenum noteref annoref nav`)

// local is a name without its prefix.
func local(name []byte) string { return string(name[bytes.LastIndexByte(name, ':')+1:]) }

// declaresOther reports whether the XML declaration names another character set than UTF-8.
func declaresOther(raw []byte) bool {
	m := declared.FindSubmatch(raw[:min(len(raw), 300)])
	return m != nil && !bytes.EqualFold(m[1], []byte("utf-8")) && !bytes.EqualFold(m[1], []byte("us-ascii"))
}

var declared = regexp.MustCompile(`^(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']`)

// subset returns where a document begins behind a document type with declarations of its own.
func subset(raw []byte) int {
	at := bytes.Index(bytes.ToUpper(raw[:min(len(raw), 4<<10)]), []byte("<!DOCTYPE"))
	if at < 0 {
		return 0
	}
	rest := raw[at:min(len(raw), at+64<<10)]
	open, end := bytes.IndexByte(rest, '['), bytes.IndexByte(rest, '>')
	close := bytes.Index(rest, []byte("]>"))
	if open < 0 || close < 0 || end >= 0 && end < open {
		return 0
	}
	return at + close + len("]>")
}

// tokenAt returns the index of the first token that ends behind at.
func (d *document) tokenAt(at int) int {
	return sort.Search(len(d.tokens), func(i int) bool { return d.tokens[i].end > at })
}

// isText reports whether the byte at belongs to text.
func (d *document) isText(at int) bool {
	i := d.tokenAt(at)
	return i < len(d.tokens) && d.tokens[i].kind == text
}

// around returns the innermost element around the byte at; -1: none.
func (d *document) around(at int) int {
	i := d.tokenAt(at)
	if i == len(d.tokens) {
		return -1
	}
	return d.tokens[i].element
}

// first returns the first element of a name; -1: none.
func (d *document) first(name string) int {
	return slices.IndexFunc(d.elements, func(e element) bool { return e.name == name })
}
