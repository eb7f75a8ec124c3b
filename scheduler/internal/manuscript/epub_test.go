package manuscript_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// zipOf packs files and nothing else.
func zipOf(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, f := range files {
		w, err := z.Create(f.name)
		require.NoError(tb, err)
		_, err = io.WriteString(w, f.content)
		require.NoError(tb, err)
	}
	require.NoError(tb, z.Close())
	return buf.Bytes()
}

func nav(lists string) file {
	return file{"OPS/nav.xhtml", xhtml(lists)}
}

func toc(entries ...string) string {
	var b strings.Builder
	b.WriteString(`<nav epub:type="toc"><h1>Contents</h1><ol>`)
	for i := 0; i+1 < len(entries); i += 2 {
		b.WriteString(`<li><a href="` + entries[i] + `">` + entries[i+1] + `</a></li>`)
	}
	return b.String() + `</ol></nav>`
}

func TestNavigationMakesChapters(t *testing.T) {
	t.Parallel()
	a := file{"OPS/a.xhtml", xhtml(`<h1>A</h1><p>a one</p><section id="two"><h2>Two</h2><p>a two</p></section>`)}
	b := file{"OPS/b.xhtml", xhtml(`<p>b</p>`)}
	c := file{"OPS/c.xhtml", xhtml(`<p>tail<a id="last"/></p><h1>C</h1><p>c</p>`)}
	items := []string{"nav nav.xhtml nav", "a a.xhtml", "b b.xhtml", "c c.xhtml", "ncx toc.ncx"}
	ncx := file{"OPS/toc.ncx", `<ncx><navMap><navPoint><navLabel><text>First &amp; A</text></navLabel><content src="a.xhtml"/>
<navPoint><navLabel><text>Second</text></navLabel><content src="a.xhtml#two"/></navPoint></navPoint></navMap></ncx>`}
	for name, x := range map[string]struct {
		files []file
		want  string
	}{
		"one file, two entries; two files, one entry": {
			[]file{opf(items, "a b c", ""), nav(toc("a.xhtml", "First", "a.xhtml#two", "Second", "c.xhtml#last", "Third")), a, b, c},
			"First: A|a one; Second: Two|a two|b|tail; Third: C|c",
		},
		"a fragment that is not there means the file": {
			[]file{opf(items, "a b", ""), nav(toc("a.xhtml#gone", "First", "b.xhtml", "Second")), a, b},
			"First: A|a one|Two|a two; Second: b",
		},
		"names differ in case and are escaped": {
			[]file{opf([]string{"nav nav.xhtml nav", "a A%20b.xhtml"}, "a", ""), nav(toc("a%20B.XHTML", "First")), {"OPS/a b.xhtml", a.content}},
			"First: A|a one|Two|a two",
		},
		"hidden entries split nothing": {
			[]file{opf(items, "a", ""), nav(`<nav epub:type="toc"><ol><li><a href="a.xhtml">First</a><ol hidden=""><li><a href="a.xhtml#two">Second</a></li></ol></li></ol></nav>`), a},
			"First: A|a one|Two|a two",
		},
		"an NCX counts where there is no navigation document": {
			[]file{opf(items[1:], "a b", ""), a, b, c, ncx}, "First & A: A|a one; Second: Two|a two|b",
		},
		"an empty navigation document yields to the NCX": {
			[]file{opf(items, "a", ""), nav(`<p>nothing</p>`), a, b, c, ncx}, "First & A: A|a one; Second: Two|a two",
		},
		"without navigation files and headings count": {
			[]file{opf([]string{"a a.xhtml", "b b.xhtml"}, "a b", ""), a, b}, "A: A|a one|Two|a two; : b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, epub(t, x.files...), manuscript.TypeEPUB)
			var got []string
			for _, c := range chapters {
				got = append(got, c.Title+": "+strings.Join(texts([]*manuscript.Chapter{c}), "|"))
			}
			require.Equal(t, x.want, strings.Join(got, "; "))
		})
	}
}

func TestFrontAndBackMatterAreRecognised(t *testing.T) {
	t.Parallel()
	page := func(name, body string) file { return file{"OPS/" + name + ".xhtml", xhtml(body)} }
	items := []string{"nav nav.xhtml nav", "x x.xhtml", "a a.xhtml", "y y.xhtml"}
	plainPages := []file{page("x", "<p>x</p>"), page("a", "<p>a</p>"), page("y", "<p>y</p>")}
	landmarks := func(entries string) string {
		return toc("a.xhtml", "A") + `<nav epub:type="landmarks"><ol>` + entries + `</ol></nav>`
	}
	for name, c := range map[string]struct {
		files []file
		want  string
	}{
		"by epub:type": {
			[]file{opf(items, "x a y", ""), nav(toc("a.xhtml", "A")), page("x", `<section epub:type="dedication"><p>x</p></section>`), page("a", "<p>a</p>"), page("y", `<section role="doc-index"><p>y</p></section>`)},
			"front: |body: A",
		},
		"by landmarks": {
			append(plainPages, opf(items, "x a y", ""), nav(landmarks(`<li><a epub:type="bodymatter" href="a.xhtml">Start</a></li><li><a epub:type="glossary" href="y.xhtml">Words</a></li>`))),
			"front: |body: A|back: Words",
		},
		"by the guide": {
			append(plainPages, opf(items, "x a y", `<reference type="copyright-page" title="Rights" href="x.xhtml"/><reference type="index" title="Index" href="y.xhtml"/>`), nav(toc("a.xhtml", "A"))),
			"front: Rights|body: A|back: Index",
		},
		"by a place outside the reading order": {
			append(plainPages, opf(items, "-x a -y", ""), nav(toc("a.xhtml", "A"))), "front: |body: A|back: ",
		},
		"by well-known titles": {
			append(plainPages, opf(items, "x a y", ""), nav(toc("x.xhtml", "Copyright", "a.xhtml", "A", "y.xhtml", "Acknowledgments"))),
			"front: Copyright|body: A|back: Acknowledgments",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, epub(t, c.files...), manuscript.TypeEPUB)
			require.Equal(t, c.want, strings.Join(outline(chapters), "|"))
		})
	}
}

func TestNavigationDocumentIsSpokenOnlyForItsProse(t *testing.T) {
	t.Parallel()
	items := []string{"nav nav.xhtml nav", "a a.xhtml"}
	a := file{"OPS/a.xhtml", xhtml("<p>a</p>")}
	for name, c := range map[string]struct {
		lists, spine, want string
	}{
		"lists and headings alone are silent": {"<h1>Contents</h1>" + toc("a.xhtml", "A"), "nav a", "a"},
		"prose is spoken":                     {"<h1>Hello</h1><p>Welcome.</p>" + toc("a.xhtml", "A"), "nav a", "Hello Welcome. a"},
		"outside the order nothing is":        {"<p>Welcome.</p>" + toc("a.xhtml", "A"), "-nav a", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, epub(t, opf(items, c.spine, ""), nav(c.lists), a), manuscript.TypeEPUB)
			require.Equal(t, c.want, strings.Join(texts(chapters), " "))
		})
	}
}

func TestPackageDescribesTheBook(t *testing.T) {
	t.Parallel()
	raw := epub(t, file{"OPS/book.opf", `<?xml version="1.0" encoding="iso-8859-1"?><package><metadata xmlns:dc="d"><dc:title id="s">Sub</dc:title><dc:title id="m"> Caf` + "\xe9" + `
 Noir</dc:title><meta refines="#m" property="title-type">main</meta><dc:creator>A</dc:creator><dc:creator>B</dc:creator><dc:language>fr-CA</dc:language></metadata>
<manifest><item id="p" href="p.svg" media-type="image/svg+xml" fallback="c"/><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/><item id="i" href="i.png" media-type="image/png"/></manifest>
<spine><itemref idref="i"/><itemref idref="p"/></spine></package>`}, file{"OPS/c.xhtml", xhtml("<p>Bonjour.</p>")})
	doc, chapters := read(t, raw, manuscript.TypeEPUB)
	require.Equal(t, []string{"Café Noir", "A, B", "fr-CA"}, []string{doc.About.Title, doc.About.Author, doc.Language})
	require.Equal(t, []string{"Bonjour."}, texts(chapters))
}

func TestPronunciationsReachTheSegment(t *testing.T) {
	t.Parallel()
	pls := file{"OPS/words.pls", `<lexicon version="1.0" alphabet="ipa" xml:lang="en" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon">
<lexeme><grapheme>Mobile</grapheme><phoneme>ˈmoʊbil</phoneme></lexeme><lexeme><grapheme>New York</grapheme><grapheme>NY</grapheme><phoneme alphabet="x-sampa">nu jOrk</phoneme></lexeme>
<lexeme><grapheme>W3C</grapheme><alias>World Wide Web Consortium</alias></lexeme></lexicon>`}
	body := `<p xmlns:ssml="s" ssml:alphabet="x-sampa">From <span ssml:ph="nOrT">N.</span> Mobile to New York, NY, by W3C and <i ssml:ph="xx">Mobile</i>; mobile Mobiles.</p>`
	raw := epub(t, opf([]string{"c c.xhtml"}, "c", ""), pls, file{
		"OPS/c.xhtml",
		strings.Replace(xhtml(body), "<title>", `<link rel="pronunciation" type="application/pls+xml" href="words.pls"/><title>`, 1),
	})
	_, chapters := read(t, raw, manuscript.TypeEPUB)
	s := chapters[0].Segments[0]
	require.Equal(t, "From N. Mobile to New York, NY, by W3C and Mobile; mobile Mobiles.", s.Text)
	var got []string
	for _, p := range s.Pronunciations {
		got = append(got, s.Text[p.Start:p.End]+"="+p.Alphabet+":"+p.Phonemes+p.Alias)
	}
	require.Equal(t, []string{"N.=x-sampa:nOrT", "Mobile=ipa:ˈmoʊbil", "New York=x-sampa:nu jOrk", "NY=x-sampa:nu jOrk", "W3C=:World Wide Web Consortium", "Mobile=x-sampa:xx"}, got)
}

func TestBrokenLexiconIsPassedOver(t *testing.T) {
	t.Parallel()
	page := strings.Replace(xhtml("<p>Mobile</p>"), "<title>", `<link rel="pronunciation" href="words.pls"/><title>`, 1)
	_, chapters := read(t, epub(t, opf([]string{"c c.xhtml"}, "c", ""), file{"OPS/words.pls", "<lexicon><"}, file{"OPS/c.xhtml", page}), manuscript.TypeEPUB)
	require.Empty(t, chapters[0].Segments[0].Pronunciations)
}
