package reader_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

// hostile is a small document that is dear to read.
type hostile struct {
	name, media string
	data        func() []byte
}

// hostileDocuments returns at least three of each format.
func hostileDocuments(t *testing.T) []hostile {
	t.Helper()
	lines := func(n int, line func(i int) string) []byte {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
			b.WriteByte('\n')
		}
		return []byte(b.String())
	}
	repeat := func(s string, n int) []byte { return []byte(strings.Repeat(s, n)) }
	wide := func(n int) []byte {
		return []byte(strings.Repeat("|a", n) + "|\n" + strings.Repeat("|-", n) + "|\n" + strings.Repeat("b\n", n))
	}
	return []hostile{
		{"a table of a gigabyte in 28 KB", job.MediaMarkdown, func() []byte { return wide(5_600) }},
		{"a table in 140 KB", job.MediaMarkdown, func() []byte { return wide(28_000) }},
		{"a list 2,400 deep", job.MediaMarkdown, func() []byte { return lines(2_400, func(i int) string { return strings.Repeat("  ", i) + "- x" }) }},
		{"quotes 100,000 deep", job.MediaMarkdown, func() []byte { return append(repeat(">", 100_000), " x"...) }},
		{"a million brackets", job.MediaMarkdown, func() []byte { return repeat("[", 1_000_000) }},
		{"emphasis that never ends", job.MediaMarkdown, func() []byte { return repeat("*a _b ", 300_000) }},

		{"a million entities", job.MediaHTML, func() []byte { return append([]byte("<p>"), repeat("&lt;", 1_350_000)...) }},
		{"a million elements inside each other", job.MediaHTML, func() []byte { return repeat("<div>", 1_000_000) }},
		{"bold that is opened again and again", job.MediaHTML, func() []byte { return repeat("<b><p>", 300_000) }},
		{"a million attributes", job.MediaHTML, func() []byte {
			return append(append([]byte("<p "), lines(700_000, func(i int) string { return fmt.Sprintf("a%d=1 ", i) })...), ">x"...)
		}},
		{"tables inside each other", job.MediaHTML, func() []byte { return repeat("<table><tr><td>", 300_000) }},

		{"entities of entities", job.MediaXHTML, func() []byte {
			return []byte(`<?xml version="1.0"?><!DOCTYPE html [<!ENTITY a "ha">` +
				string(lines(30, func(i int) string { return fmt.Sprintf(`<!ENTITY a%d "&a%d;&a%d;">`, i+1, i, i) })) +
				`]><html xmlns="http://www.w3.org/1999/xhtml"><body><p>&a30;</p></body></html>`)
		}},
		{"names without an end", job.MediaXHTML, func() []byte { return append([]byte("<html><body><"), repeat("a", 8_000_000)...) }},
		{"a namespace for each element", job.MediaXHTML, func() []byte {
			return append([]byte("<html><body>"), lines(200_000, func(i int) string {
				return fmt.Sprintf(`<a%d:b xmlns:a%d="http://x/%d"/>`, i, i, i)
			})...)
		}},

		{"one word of 30 MB", job.MediaText, func() []byte { return repeat("a", 30<<20) }},
		{"ten million combining marks", job.MediaText, func() []byte { return append([]byte("a"), repeat("\u0301", 10_000_000)...) }},
		{"fifteen million paragraphs", job.MediaText, func() []byte { return repeat("\n\n", 15_000_000) }},
		{"a sentence of abbreviations", job.MediaText, func() []byte { return repeat("Dr. ", 4_000_000) }},

		{"a book of nothing but spine", job.MediaEPUB, func() []byte { return book(t, `<p>x</p>`, 50_000) }},
		{"a chapter that unpacks to 30 MB", job.MediaEPUB, func() []byte { return book(t, strings.Repeat("<p>a b c d e f g h</p>", 1_400_000), 1) }},
		{"the same chapter 400 times", job.MediaEPUB, func() []byte {
			return book(t, strings.Repeat("<p>All work and no play. It goes on, and on.</p>", 10_000), 400)
		}},
		{"a chapter of nested emphasis", job.MediaEPUB, func() []byte { return book(t, strings.Repeat("<i><p>", 200_000), 1) }},
	}
}

// book returns an EPUB whose spine names its one chapter so many times.
func book(t *testing.T, body string, times int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name, text string) {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
	}
	add("mimetype", "application/epub+zip")
	add("META-INF/container.xml", `<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`)
	add("c.opf", `<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="u"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="u">u</dc:identifier><dc:title>T</dc:title><dc:language>en</dc:language></metadata><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine>`+
		strings.Repeat(`<itemref idref="a"/>`, times)+`</spine></package>`)
	add("a.xhtml", `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body>`+body+`</body></html>`)
	require.NoError(t, w.Close())
	return b.Bytes()
}
