package manuscript

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"github.com/voicemill/voicemill/job"
)

// Markdown is read whole into a tree of about ten times its size, so it has a
// smaller limit than other documents: 8 MiB are 1.4 million words.
const mostMarkdown = 8 << 20

// markdown is an opened Markdown document.
type markdown struct {
	doc   *decoded
	base  int // where the text begins, after the front matter
	depth int
}

func (d *Document) openMarkdown(r io.ReaderAt, size int64, params string) error {
	if size > mostMarkdown {
		return tooLarge("a Markdown document may not be larger than %s", bytesText(mostMarkdown))
	}
	raw, err := d.readWhole(r, size)
	if err != nil {
		return err
	}
	doc, err := decode(raw, charsetParam(params), "", false)
	if err != nil {
		return err
	}
	m := &markdown{doc: doc, depth: d.opts.Limits.Depth}
	m.base = d.readFrontMatter(doc.text)
	if nests(doc.text[m.base:], d.opts.Limits.Depth) {
		return invalid("the document nests its quotations or lists more than %d deep", d.opts.Limits.Depth)
	}
	if tangled(doc.text[m.base:]) {
		return tooLarge("the document has paragraphs of Markdown with too many marks or references to be read")
	}
	d.source = m
	if d.About.Title == "" {
		d.About.Title = m.onlyTitle()
	}
	return nil
}

// readFrontMatter takes what is said of the book and its language from a YAML block
// at the start of the document, and returns where the text begins. Values are plain
// scalars; anything else is passed over.
func (d *Document) readFrontMatter(src []byte) int {
	const longest = 64 << 10
	body := bytes.TrimPrefix(src, []byte("\ufeff"))
	skipped := len(src) - len(body)
	first, rest, ok := bytes.Cut(body, []byte("\n"))
	if !ok || string(bytes.TrimRight(first, " \t\r")) != "---" {
		return skipped
	}
	at := skipped + len(first) + 1
	fields := map[string]string{}
	for line := range bytes.Lines(rest) {
		at += len(line)
		if at > longest {
			break
		}
		if end := string(bytes.TrimRight(line, " \t\r\n")); end == "---" || end == "..." {
			d.About = frontMatter(fields)
			d.Language = cmp.Or(fields["lang"], fields["language"])
			return at
		}
		if key, value, ok := strings.Cut(string(line), ":"); ok && key == strings.TrimSpace(key) {
			value = strings.TrimSpace(value)
			if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
				value = value[1 : n-1]
			}
			fields[strings.ToLower(key)] = value
		}
	}
	return skipped // a line was drawn and no block followed
}

// frontMatter returns what the fields of the block say of the book.
func frontMatter(fields map[string]string) job.Metadata {
	return job.Metadata{
		Title: folded(fields["title"]), Author: folded(fields["author"]), Publisher: folded(fields["publisher"]), Description: folded(fields["description"]),
		Series: folded(fields["series"]), SeriesIndex: position(fields["series_index"]), Year: yearOf(cmp.Or(fields["year"], fields["date"])),
	}
}

// nests reports whether a line opens more than depth quotations or lists, which
// the parser would follow one by one.
func nests(src []byte, depth int) bool {
	for line := range bytes.Lines(src) {
		marks := 0
		for i, c := range line {
			switch {
			case c == '>', (c == '-' || c == '*' || c == '+') && i+1 < len(line) && (line[i+1] == ' ' || line[i+1] == '\t'):
				marks++
			case c != ' ' && c != '\t':
				marks, line = max(marks, 0), nil
			}
			if line == nil {
				break
			}
		}
		if marks > depth {
			return true
		}
	}
	return false
}

// tangled reports whether the parser would take minutes: for the marks of one
// paragraph, for link definitions in a row and for notes its time grows with
// the square of their number. The blocks alone, which are quick, tell.
func tangled(src []byte) bool {
	const (
		mostWork  = 2_000_000_000 // marks times bytes: about 5 s
		mostRows  = 100_000_000   // link definitions times lines: about 1.5 s
		mostNotes = 10_000        // about 5 s
	)
	blocks := parser.NewParser(parser.WithBlockParsers(parser.DefaultBlockParsers()...)).Parse(text.NewReader(src))
	work, rows, notes := 0, 0, 0
	_ = ast.Walk(blocks, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the visitor returns no error
		if !entering || n.Type() != ast.TypeBlock || n.Lines() == nil {
			return ast.WalkContinue, nil
		}
		size, marks, references := 0, 0, 0
		for i := range n.Lines().Len() {
			seg := n.Lines().At(i)
			line := bytes.TrimLeft(src[seg.Start:seg.Stop], " ")
			size += len(line)
			marks += markRuns(line)
			if bytes.HasPrefix(line, []byte("[^")) {
				notes++
			}
			if bytes.HasPrefix(line, []byte("[")) {
				references++
			}
		}
		if _, code := n.(*ast.FencedCodeBlock); !code {
			work += marks * size
			rows += references * n.Lines().Len()
		}
		return ast.WalkContinue, nil
	})
	return work > mostWork || rows > mostRows || notes > mostNotes
}

// markRuns counts the runs of characters that may begin a link, an emphasis,
// code or HTML.
func markRuns(line []byte) int {
	count := 0
	var last byte
	for _, c := range line {
		switch c {
		case '[', ']', '<', '`', '*', '_', '~', '!':
			if c != last {
				count++
			}
		}
		last = c
	}
	return count
}

func (m *markdown) parse() ast.Node {
	md := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Footnote, extension.DefinitionList))
	return md.Parser().Parse(text.NewReader(m.doc.text[m.base:]))
}

// onlyTitle returns the text of the heading of level 1, if there is just one.
func (m *markdown) onlyTitle() string {
	title, count := "", 0
	for n := m.parse().FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok && h.Level == 1 {
			title = m.plain(h)
			count++
		}
	}
	if count != 1 {
		return ""
	}
	return title
}

// plain returns the text of a heading.
func (m *markdown) plain(n ast.Node) string {
	var title string
	s := &scribe{src: m.doc, emit: func(p *passage) error {
		title = string(p.text)
		return nil
	}}
	r := &markdownReader{markdown: m, w: newWalker(s, m.doc, m.depth)}
	r.w.stack = append(r.w.stack, element{})
	if r.node(n) != nil {
		return ""
	}
	s.flush()
	return title
}

// read implements source.
func (m *markdown) read(to *binder) error {
	root := m.parse()
	var l levels
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok {
			l.add(h.Level, m.plain(h))
		}
	}
	to.split = l.chapterLevel()
	s := &scribe{emit: to.add, src: m.doc}
	r := &markdownReader{markdown: m, w: newWalker(s, m.doc, m.depth)}
	r.w.stack = append(r.w.stack, element{})
	for _, n := range m.inOrder(root) {
		if err := r.node(n); err != nil {
			return err
		}
		if s.err != nil {
			return s.err
		}
	}
	r.w.closeTo(1)
	s.flush()
	return s.err
}

// inOrder returns the blocks of the document, with each footnote where it is
// written and not at the end, where the parser moves it.
func (m *markdown) inOrder(root ast.Node) []ast.Node {
	type placed struct {
		node ast.Node
		at   int
	}
	var blocks []placed
	last := 0
	add := func(n ast.Node) {
		if at, ok := firstOffset(n); ok {
			last = at
		}
		blocks = append(blocks, placed{n, last})
	}
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		if n.Kind() != extast.KindFootnoteList {
			add(n)
			continue
		}
		for f := n.FirstChild(); f != nil; f = f.NextSibling() {
			add(f)
		}
	}
	slices.SortStableFunc(blocks, func(a, b placed) int { return a.at - b.at })
	nodes := make([]ast.Node, len(blocks))
	for i, b := range blocks {
		nodes[i] = b.node
	}
	return nodes
}

// firstOffset returns where the first text of n is.
func firstOffset(n ast.Node) (at int, ok bool) {
	if t, isText := n.(*ast.Text); isText {
		return t.Segment.Start, true
	}
	if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
		return n.Lines().At(0).Start, true
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if at, ok := firstOffset(c); ok {
			return at, true
		}
	}
	return 0, false
}

// markdownReader passes a tree to a walker, as if it were the markup that it
// stands for. HTML inside goes to the same walker.
type markdownReader struct {
	*markdown
	w *walker
}

// tags are the elements that nodes stand for. Other nodes pass their children
// through.
var tags = map[ast.NodeKind]string{
	ast.KindParagraph: "p", ast.KindTextBlock: "p", ast.KindBlockquote: "blockquote", ast.KindList: "ul", ast.KindListItem: "li",
	extast.KindTable: "table", extast.KindTableHeader: "tr", extast.KindTableRow: "tr", extast.KindTableCell: "td",
	extast.KindDefinitionList: "dl", extast.KindDefinitionTerm: "dt", extast.KindDefinitionDescription: "dd",
	extast.KindFootnote: "aside",
}

func (r *markdownReader) node(n ast.Node) error {
	switch n := n.(type) {
	case *ast.Heading:
		return r.within("h"+strconv.Itoa(n.Level), n)
	case *ast.Text:
		r.text(n)
		return nil
	case *ast.FencedCodeBlock:
		return r.code(n, spokenCode(string(n.Language(r.doc.text[r.base:]))))
	case *ast.CodeBlock:
		return r.code(n, true)
	case *ast.HTMLBlock:
		return r.html(n)
	case *ast.RawHTML:
		for i := range n.Segments.Len() {
			seg := n.Segments.At(i)
			if err := r.markup(seg.Start, seg.Stop); err != nil {
				return err
			}
		}
		return nil
	case *ast.AutoLink:
		r.words(n.Label(r.doc.text[r.base:]))
		return nil
	case *ast.ThematicBreak:
		r.w.endBlock()
		return nil
	case *ast.Image, *extast.FootnoteLink, *extast.FootnoteBacklink:
		return nil
	}
	if name, ok := tags[n.Kind()]; ok {
		return r.within(name, n)
	}
	return r.children(n)
}

func (r *markdownReader) children(n ast.Node) error {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if err := r.node(c); err != nil {
			return err
		}
	}
	return nil
}

// within reads the children of n as those of the element called name.
func (r *markdownReader) within(name string, n ast.Node) error {
	if err := r.w.open(name, &attributes{}, false, 0, 0); err != nil {
		return err
	}
	depth := len(r.w.stack)
	if err := r.children(n); err != nil {
		return err
	}
	r.w.closeTo(min(depth-1, len(r.w.stack)))
	return r.w.scribe.err
}

func (r *markdownReader) text(n *ast.Text) {
	if r.w.top().hidden {
		return
	}
	seg := n.Segment
	esc := backslants
	if n.IsRaw() || n.Parent() != nil && n.Parent().Kind() == ast.KindCodeSpan {
		esc = verbatim
	}
	s := r.w.scribe
	s.text(r.doc.text[r.base+seg.Start:r.base+seg.Stop], r.base+seg.Start, esc)
	if n.HardLineBreak() {
		s.line()
	} else if n.SoftLineBreak() {
		s.space(r.base+seg.Stop, 1, true)
	}
}

// words speaks label, a slice of the source.
func (r *markdownReader) words(label []byte) {
	src := r.doc.text
	// The label shares its array with the source: the capacities tell where it is.
	at := cap(src) - cap(label)
	if at < 0 || at+len(label) > len(src) || !bytes.Equal(src[at:at+len(label)], label) {
		return
	}
	r.w.scribe.text(label, at, verbatim)
}

func (r *markdownReader) markup(start, stop int) error {
	return r.w.fragment(r.doc.text[r.base+start:r.base+stop], r.base+start)
}

// html reads a block of HTML, whole if its lines adjoin.
func (r *markdownReader) html(n *ast.HTMLBlock) error {
	lines := n.Lines()
	if n.HasClosure() {
		lines = text.NewSegments()
		lines.AppendAll(n.Lines().Sliced(0, n.Lines().Len()))
		lines.Append(n.ClosureLine)
	}
	start, stop := -1, -1
	for i := range lines.Len() {
		seg := lines.At(i)
		if seg.Start != stop && start >= 0 {
			if err := r.markup(start, stop); err != nil {
				return err
			}
			start = -1
		}
		if start < 0 {
			start = seg.Start
		}
		stop = seg.Stop
	}
	if start < 0 {
		return nil
	}
	if err := r.markup(start, stop); err != nil {
		return err
	}
	if len(r.w.stack) == 1 {
		r.w.scribe.flush()
	}
	return r.w.scribe.err
}

// spokenCode reports whether a fenced block in that language is for ears: verse
// and plain text are, programs are not.
func spokenCode(lang string) bool {
	switch strings.ToLower(lang) {
	case "", "text", "txt", "plain", "plaintext", "verse", "poem", "poetry", "lyrics", "letter":
		return true
	}
	return false
}

// code reads a code block line by line.
func (r *markdownReader) code(n ast.Node, spoken bool) error {
	if !spoken {
		r.w.endBlock()
		return nil
	}
	if err := r.w.open("pre", &attributes{}, false, 0, 0); err != nil {
		return err
	}
	for i := range n.Lines().Len() {
		seg := n.Lines().At(i)
		r.w.scribe.text(r.doc.text[r.base+seg.Start:r.base+seg.Stop], r.base+seg.Start, verbatim)
	}
	r.w.endTag("pre")
	return r.w.scribe.err
}
