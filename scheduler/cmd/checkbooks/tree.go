package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// node is a block or an inline of pandoc's tree.
type node struct {
	Type    string          `json:"t"`
	Content json.RawMessage `json:"c"`
}

// nodes returns the content of n as a list of nodes.
func (n node) nodes() []node { return list(n.Content) }

func list(raw json.RawMessage) []node {
	var nodes []node
	_ = json.Unmarshal(raw, &nodes) // another shape has no nodes
	return nodes
}

func fields(raw json.RawMessage) []json.RawMessage {
	var f []json.RawMessage
	_ = json.Unmarshal(raw, &f) // another shape has no fields
	return f
}

// attr is pandoc's triple of id, classes and other attributes.
type attr struct {
	id      string
	classes []string
	values  map[string]string
}

// UnmarshalJSON reads the triple.
func (a *attr) UnmarshalJSON(raw []byte) error {
	f := fields(raw)
	if len(f) != 3 {
		return fmt.Errorf("attributes have %d parts; want 3", len(f))
	}
	var pairs [][2]string
	for i, v := range []any{&a.id, &a.classes, &pairs} {
		if err := json.Unmarshal(f[i], v); err != nil {
			return err
		}
	}
	a.values = map[string]string{}
	for _, p := range pairs {
		a.values[p[0]] = p[1]
	}
	return nil
}

// treeWalker collects the text of a tree. It knows these rules of
// docs/manuscript.md and no others: navigation lists, ruby readings, note
// marks, page numbers, line numbers of verse and hidden elements are not
// spoken; an image is not, unless it is a drawn initial.
type treeWalker struct {
	text  strings.Builder
	nav   int // open nav elements
	ruby  int // open rt or rp elements
	sup   int // open superscripts
	prose bool
	title bool // inside a heading
}

func (w *treeWalker) blocks(blocks []node) {
	for _, b := range blocks {
		w.block(b)
		w.write("\n")
	}
}

func (w *treeWalker) write(s string) {
	if w.nav > 0 || w.ruby > 0 {
		return
	}
	w.text.WriteString(s)
	if !w.title && strings.ContainsFunc(s, unicode.IsLetter) {
		w.prose = true
	}
}

func (w *treeWalker) block(b node) {
	f := fields(b.Content)
	switch b.Type {
	case "Plain", "Para":
		w.inlines(b.nodes())
	case "LineBlock":
		for _, line := range f {
			w.inlines(list(line))
			w.write("\n")
		}
	case "Header":
		w.title = true
		w.inlines(list(f[2]))
		w.title = false
	case "CodeBlock":
		w.write(text(f[1]))
	case "RawBlock":
		w.raw(text(f[1]))
	case "BlockQuote":
		w.blocks(b.nodes())
	case "OrderedList":
		w.items(f[1])
	case "BulletList":
		w.items(b.Content)
	case "DefinitionList":
		for _, item := range f {
			pair := fields(item)
			w.inlines(list(pair[0]))
			w.write("\n")
			w.items(pair[1])
		}
	case "Div":
		if !hidden(f[0]) {
			w.blocks(list(f[1]))
		}
	case "Table":
		w.table(f)
	}
}

func (w *treeWalker) items(raw json.RawMessage) {
	for _, item := range fields(raw) {
		w.blocks(list(item))
	}
}

// table reads caption, head, bodies and foot, row by row.
func (w *treeWalker) table(f []json.RawMessage) {
	w.blocks(list(fields(f[1])[1]))
	w.rows(fields(f[3])[1])
	for _, body := range fields(f[4]) {
		b := fields(body)
		w.rows(b[2])
		w.rows(b[3])
	}
	w.rows(fields(f[5])[1])
}

func (w *treeWalker) rows(raw json.RawMessage) {
	for _, row := range fields(raw) {
		for _, cell := range fields(fields(row)[1]) {
			w.blocks(list(fields(cell)[4]))
		}
	}
}

func (w *treeWalker) inlines(inlines []node) {
	for i, n := range inlines {
		if i > 0 && i+1 < len(inlines) && n.Type == "Link" && w.bracketed(inlines[i-1], n, inlines[i+1]) {
			continue
		}
		w.inline(n)
	}
}

// bracketed reports whether link is a note mark whose square brackets stand
// outside the link.
func (w *treeWalker) bracketed(before, link, after node) bool {
	f := fields(link.Content)
	return strings.HasSuffix(text(before.Content), "[") && strings.HasPrefix(text(after.Content), "]") &&
		strings.HasPrefix(text(fields(f[2])[0]), "#") && noteMark.MatchString(plain(list(f[1])))
}

func (w *treeWalker) inline(n node) {
	f := fields(n.Content)
	switch n.Type {
	case "Str":
		w.write(text(n.Content))
	case "Space", "SoftBreak", "LineBreak":
		w.write(" ")
	case "Emph", "Underline", "Strong", "Strikeout", "Subscript", "SmallCaps":
		w.inlines(n.nodes())
	case "Superscript":
		w.superscript(n.nodes())
	case "Quoted", "Cite":
		w.inlines(list(f[1]))
	case "Code":
		w.write(text(f[1]))
	case "RawInline":
		w.raw(text(f[1]))
	case "Link":
		if !w.isMark(f) {
			w.inlines(list(f[1]))
		}
	case "Span":
		w.span(f)
	case "Image":
		if alt := plain(list(f[1])); len(alt) > 0 {
			if r, n := utf8.DecodeRuneInString(alt); n == len(alt) && unicode.IsUpper(r) {
				w.write(alt)
			}
		}
	case "Note":
		w.blocks(n.nodes())
	}
}

func (w *treeWalker) span(f []json.RawMessage) {
	content := list(f[1])
	var a attr
	_ = json.Unmarshal(f[0], &a)
	switch {
	case hidden(f[0]):
	case slices.Contains(a.classes, "lnum") && number.MatchString(plain(content)):
	case slices.Contains(a.classes, "noteref") && noteMark.MatchString(plain(content)):
	default:
		w.inlines(content)
	}
}

var (
	number   = regexp.MustCompile(`^\s*\d{1,5}\s*$`)
	noteMark = regexp.MustCompile(`^[^\pL\pN]*(?:\pN{1,4}|[a-z]|[ivxl]{1,6})?[^\pL\pN]*$`)
	boxed    = regexp.MustCompile(`^\s*(?:\[\s*(?:\d{1,4}|[a-z]|\*+)\s*\]|[*†‡§]+|[↩↑])`)
)

// isMark reports whether a link is a note mark.
func (w *treeWalker) isMark(f []json.RawMessage) bool {
	var a attr
	_ = json.Unmarshal(f[0], &a)
	label := plain(list(f[1]))
	if slices.Contains(a.classes, "noteref") || a.values["role"] == "doc-noteref" {
		return noteMark.MatchString(label)
	}
	if slices.Contains(a.classes, "backlink") || a.values["role"] == "doc-backlink" {
		return true
	}
	inside := w.sup > 0 || len(list(f[1])) == 1 && list(f[1])[0].Type == "Superscript"
	internal := strings.HasPrefix(text(fields(f[2])[0]), "#")
	return internal && (inside && noteMark.MatchString(label) || boxed.MatchString(label))
}

// superscript drops what remains of a superscript whose links were note marks.
func (w *treeWalker) superscript(inlines []node) {
	links := slices.ContainsFunc(inlines, func(n node) bool { return n.Type == "Link" })
	if links && noteMark.MatchString(plain(inlines)) {
		return
	}
	w.sup++
	w.inlines(inlines)
	w.sup--
}

// hidden reports whether the element with these attributes is not spoken.
func hidden(raw json.RawMessage) bool {
	var a attr
	if json.Unmarshal(raw, &a) != nil {
		return false
	}
	_, hides := a.values["hidden"]
	return hides || a.values["aria-hidden"] == "true" || slices.Contains(a.classes, "pagebreak") || a.values["role"] == "doc-pagebreak"
}

var rawTag = regexp.MustCompile(`^\s*<(/?)(nav|rt|rp)\b[^>]*?(/?)>`)

// raw notes the tags that pandoc passes through.
func (w *treeWalker) raw(html string) {
	m := rawTag.FindStringSubmatch(html)
	if m == nil || m[3] != "" {
		return
	}
	step := 1
	if m[1] != "" {
		step = -1
	}
	if m[2] == "nav" {
		w.nav = max(0, w.nav+step)
	} else {
		w.ruby = max(0, w.ruby+step)
	}
}

// plain returns the text of inlines without any rule.
func plain(inlines []node) string {
	var b strings.Builder
	for _, n := range inlines {
		switch n.Type {
		case "Str":
			b.WriteString(text(n.Content))
		case "Space", "SoftBreak", "LineBreak":
			b.WriteByte(' ')
		case "Link", "Span", "Quoted":
			b.WriteString(plain(list(fields(n.Content)[1])))
		default:
			b.WriteString(plain(n.nodes()))
		}
	}
	return b.String()
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) // another shape has no text
	return s
}
