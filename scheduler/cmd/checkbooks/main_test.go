package main

import (
	"archive/zip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	container = `<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`
	head      = `<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>t</title></head><body>`
	tail      = `</body></html>`
	packaging = `<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>T</dc:title><dc:language>en</dc:language></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/><item id="t" href="t.xhtml" media-type="application/xhtml+xml"/><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/><item id="n" href="n.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="t"/><itemref idref="nav"/><itemref idref="c"/><itemref idref="n" linear="no"/></spine></package>`
)

// writeBook writes an EPUB with every trait that pandoc reads in its own way.
func writeBook(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for _, file := range [][2]string{
		{"mimetype", "application/epub+zip"},
		{"META-INF/container.xml", container},
		{"OPS/book.opf", packaging},
		{"OPS/nav.xhtml", head + `<h1>Contents</h1><nav epub:type="toc"><ol><li><a href="c.xhtml">Chapter One</a></li></ol></nav>` + tail},
		{"OPS/t.xhtml", head + `<section epub:type="titlepage"><h1>The Title</h1></section>` + tail},
		{"OPS/c.xhtml", head + `<h1>Chapter One</h1><p>A word<a epub:type="noteref" href="n.xhtml#n1">1</a> and<sup><a href="#n2">2</a></sup> more<a href="#n3">[3]</a> [<a href="#n4">4</a>].</p>
<p><ruby>漢<rt>かん</rt></ruby> <span epub:type="pagebreak">12</span>so<span class="lnum">10</span>.</p><table><tr><th>a</th><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>
<ul><li>one</li><li><p>two</p></li></ul><dl><dt>x</dt><dd>y</dd></dl><pre>code here</pre><p hidden="hidden"></p><blockquote><p>said <q>he</q></p></blockquote><p>10<sup>2</sup></p>` + tail},
		{"OPS/n.xhtml", head + `<aside epub:type="footnote" id="n1"><p>The note.</p></aside>` + tail},
	} {
		w, err := z.Create(file[0])
		require.NoError(t, err)
		_, err = w.Write([]byte(file[1]))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

func TestSpokenBookEqualsWhatPandocReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeBook(t, filepath.Join(dir, "book.epub"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.EPUB"), []byte("no zip"), 0o600))
	books, err := findBooks([]string{dir})
	require.NoError(t, err)
	require.Len(t, books, 2)
	var out strings.Builder
	require.Equal(t, exitGood, check(t.Context(), &out, books[:1], true), out.String())
	require.Regexp(t, `book\s+\d+\s+0\s+0\s+0\s+100.000 %`, out.String())
	out.Reset()
	require.Equal(t, exitDiffers, check(t.Context(), &out, books, false))
	require.Contains(t, out.String(), "broken.EPUB: ")
}

func TestNoBooksIsAnError(t *testing.T) {
	t.Parallel()
	_, err := findBooks([]string{t.TempDir()})
	require.ErrorContains(t, err, "no *.epub below")
	_, err = findBooks([]string{filepath.Join(t.TempDir(), "gone")})
	require.Error(t, err)
}

func TestTreeIsReadInOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ blocks, want string }{
		"lines":             {`[{"t":"LineBlock","c":[[{"t":"Str","c":"a"}],[{"t":"Str","c":"b"}]]}]`, "a b"},
		"a definition":      {`[{"t":"DefinitionList","c":[[[{"t":"Str","c":"a"}],[[{"t":"Plain","c":[{"t":"Str","c":"b"}]}]]]]}]`, "a b"},
		"a ruby":            {`[{"t":"Para","c":[{"t":"Str","c":"a"},{"t":"RawInline","c":["html","<rt>"]},{"t":"Str","c":"b"},{"t":"RawInline","c":["html","</rt>"]},{"t":"Str","c":"c"}]}]`, "ac"},
		"a navigation":      {`[{"t":"RawBlock","c":["html","<nav id=\"x\">"]},{"t":"Para","c":[{"t":"Str","c":"a"}]},{"t":"RawBlock","c":["html","</nav>"]},{"t":"Para","c":[{"t":"Str","c":"b"}]}]`, "b"},
		"a hidden division": {`[{"t":"Div","c":[["",[],[["hidden","hidden"]]],[{"t":"Para","c":[{"t":"Str","c":"a"}]}]]}]`, ""},
		"a drawn initial":   {`[{"t":"Para","c":[{"t":"Image","c":[["",[],[]],[{"t":"Str","c":"W"}],["w.png",""]]},{"t":"Str","c":"hen"}]}]`, "When"},
		"something else":    {`[{"t":"HorizontalRule"},{"t":"Para","c":[{"t":"Math","c":[{"t":"InlineMath"},"x"]}]}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := treeWalker{}
			w.blocks(list(json.RawMessage(c.blocks)))
			require.Equal(t, c.want, strings.Join(strings.Fields(w.text.String()), " "))
		})
	}
}
