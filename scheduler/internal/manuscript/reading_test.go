package manuscript_test

import (
	"archive/zip"
	"bytes"
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// file is a file of an EPUB that a test builds.
type file struct{ name, content string }

const container = `<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`

// epub packs files into an EPUB; container.xml is added if it is not among them.
func epub(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	write := func(f file) {
		w, err := z.Create(f.name)
		require.NoError(tb, err)
		_, err = w.Write([]byte(f.content))
		require.NoError(tb, err)
	}
	write(file{"mimetype", "application/epub+zip"})
	own := false
	for _, f := range files {
		own = own || f.name == "META-INF/container.xml"
	}
	if !own {
		write(file{"META-INF/container.xml", container})
	}
	for _, f := range files {
		write(f)
	}
	require.NoError(tb, z.Close())
	return buf.Bytes()
}

// opf returns a package document: items are "id href" with optional properties,
// the spine lists ids, a "-" before one makes it non-linear.
func opf(items []string, spine, guide string) file {
	var b strings.Builder
	b.WriteString(`<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>The Book</dc:title><dc:creator>A. Writer</dc:creator><dc:language>en</dc:language></metadata><manifest>`)
	for _, item := range items {
		f := strings.Fields(item)
		kind := manuscript.TypeXHTML
		if strings.HasSuffix(f[1], ".ncx") {
			kind = "application/x-dtbncx+xml"
		}
		b.WriteString(`<item id="` + f[0] + `" href="` + f[1] + `" media-type="` + kind + `" properties="` + strings.Join(f[2:], " ") + `"/>`)
	}
	b.WriteString(`</manifest><spine toc="ncx">`)
	for id := range strings.FieldsSeq(spine) {
		if rest, ok := strings.CutPrefix(id, "-"); ok {
			b.WriteString(`<itemref idref="` + rest + `" linear="no"/>`)
			continue
		}
		b.WriteString(`<itemref idref="` + id + `"/>`)
	}
	b.WriteString(`</spine><guide>` + guide + `</guide></package>`)
	return file{"OPS/book.opf", b.String()}
}

// xhtml wraps a body.
func xhtml(body string) string {
	return `<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xmlns:ssml="http://www.w3.org/2001/10/synthesis"><head><title>t</title></head><body>` + body + `</body></html>`
}

// small returns an EPUB of one document without navigation.
func small(tb testing.TB, body string, more ...file) []byte {
	tb.Helper()
	return epub(tb, append([]file{opf([]string{"c c.xhtml"}, "c", ""), {"OPS/c.xhtml", xhtml(body)}}, more...)...)
}

// open opens a document held in memory.
func open(tb testing.TB, raw []byte, mediaType string, opts manuscript.Options) (*manuscript.Document, error) {
	tb.Helper()
	return manuscript.Open(tb.Context(), bytes.NewReader(raw), int64(len(raw)), mediaType, opts)
}

// read opens a document and reads its chapters.
func read(tb testing.TB, raw []byte, mediaType string) (*manuscript.Document, []*manuscript.Chapter) {
	tb.Helper()
	doc, err := open(tb, raw, mediaType, manuscript.Options{})
	require.NoError(tb, err)
	var chapters []*manuscript.Chapter
	for c, err := range doc.Chapters() {
		require.NoError(tb, err)
		chapters = append(chapters, c)
	}
	return doc, chapters
}

// readError returns the error of opening or reading a document, nil if there is none.
func readError(tb testing.TB, raw []byte, mediaType string, opts manuscript.Options) error {
	tb.Helper()
	doc, err := open(tb, raw, mediaType, opts)
	if err != nil {
		return err
	}
	for _, err := range doc.Chapters() {
		if err != nil {
			return err
		}
	}
	return nil
}

// texts returns the texts of all segments.
func texts(chapters []*manuscript.Chapter) []string {
	var list []string
	for _, c := range chapters {
		for _, s := range c.Segments {
			list = append(list, s.Text)
		}
	}
	return list
}

// outline returns "matter: title" of each chapter.
func outline(chapters []*manuscript.Chapter) []string {
	var list []string
	for _, c := range chapters {
		list = append(list, c.Matter.String()+": "+c.Title)
	}
	return list
}

var tags = regexp.MustCompile(`(?s)<rt>.*?</rt>|<!\[CDATA\[|\]\]>|<[^>]*>`)

// wordsOf returns the runs of letters, digits and marks in text.
func wordsOf(text string) []string {
	return strings.FieldsFunc(norm.NFC.String(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r)
	})
}

// requireTraced checks that the source of each segment holds its words in
// order, and begins and ends with them.
func requireTraced(t *testing.T, source func(document string) string, chapters []*manuscript.Chapter) {
	t.Helper()
	end := map[string]int64{}
	for _, c := range chapters {
		for _, s := range c.Segments {
			whole := source(s.Source.Document)
			require.GreaterOrEqual(t, s.Source.Start, end[s.Source.Document], "overlap at %q", s.Text)
			end[s.Source.Document] = s.Source.End
			require.LessOrEqual(t, s.Source.End, int64(len(whole)))
			from := html.UnescapeString(tags.ReplaceAllString(whole[s.Source.Start:s.Source.End], " "))
			from = strings.NewReplacer("\u00ad", "", "\\", "").Replace(from)
			want, got := strings.Join(wordsOf(s.Text), ""), strings.Join(wordsOf(from), "")
			rest := got
			for _, r := range want {
				_, after, ok := strings.Cut(rest, string(r))
				require.True(t, ok, "%q does not hold the letters of %q in order", from, s.Text)
				rest = after
			}
			require.Empty(t, rest, "%q goes on after %q", from, s.Text)
			if want != "" {
				require.True(t, strings.HasPrefix(got, string([]rune(want)[:1])), "%q does not begin as %q", from, s.Text)
			}
		}
	}
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }

func replaceOnce(s, old, with string) string { return strings.Replace(s, old, with, 1) }

// noHan drops the characters that a Cyrillic charset lacks.
func noHan(s string) string { return strings.ReplaceAll(s, " 日本", "") }
