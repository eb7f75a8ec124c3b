package readalong_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/readalong"
)

var meta = readalong.Meta{
	Title: "A & B", Author: "A. Writer", Narrator: "N <1>", Language: "en", Identifier: "urn:uuid:00000000-0000-4000-8000-000000000000",
	Year: 1905, Synthetic: "Spoken by a synthetic voice.",
}

const opf = `<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:x</dc:identifier><dc:title>T</dc:title><dc:language>en</dc:language>
<meta property="dcterms:modified">2010-02-17T04:39:13Z</meta>%s
</metadata>
<manifest>
<item id="one" %shref="one.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>%s
</manifest>
<spine><itemref idref="one"/></spine>
</package>
`

const nav = `<?xml version="1.0" encoding="UTF-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>T</title></head>
<body><nav epub:type="toc"><ol><li><a href="one.xhtml">One</a></li></ol></nav></body></html>
`

// pageOf is a document with a body.
func pageOf(body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>T</title></head><body>` + body + "</body></html>\n"
}

// epub packs files as a foreign EPUB.
func epub(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, method uint16, text string) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		require.NoError(tb, err)
		_, err = w.Write([]byte(text))
		require.NoError(tb, err)
	}
	add("mimetype", zip.Store, "application/epub+zip")
	add("META-INF/container.xml", zip.Deflate, `<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`)
	for _, name := range []string{"OPS/package.opf", "OPS/nav.xhtml", "OPS/one.xhtml", "OPS/old.smil", "OPS/old.mp3", "META-INF/signatures.xml"} {
		if text, ok := files[name]; ok {
			add(name, zip.Deflate, text)
		}
	}
	require.NoError(tb, z.Close())
	return b.Bytes()
}

// simple is an EPUB of one document.
func simple(tb testing.TB, page string) []byte {
	return epub(tb, map[string]string{"OPS/package.opf": fmt.Sprintf(opf, "", "", ""), "OPS/nav.xhtml": nav, "OPS/one.xhtml": page})
}

// segment says where in page a segment stands whose sentences are given, each a second long, and
// its words 100 ms.
func segment(tb testing.TB, page, from, to string, at int64, sentences ...string) readalong.Segment {
	tb.Helper()
	start := strings.Index(page, from)
	require.GreaterOrEqual(tb, start, 0, from)
	end := strings.Index(page[start:], to)
	require.GreaterOrEqual(tb, end, 0, to)
	s := readalong.Segment{Document: "OPS/one.xhtml", Start: start, End: start + end + len(to), Text: strings.Join(sentences, " "), Language: "en", Paragraph: true}
	n := 0
	for i, one := range sentences {
		s.Sentences = append(s.Sentences, readalong.Stretch{At: n, Millis: at + int64(i)*1000})
		for k, w := 0, 0; k < len(one); k++ {
			if k == 0 || one[k-1] == ' ' {
				s.Words = append(s.Words, readalong.Stretch{At: n + k, Millis: at + int64(i)*1000 + int64(w)*100})
				w++
			}
		}
		n += len(one) + 1
	}
	return s
}

// fill writes a book of one chapter.
func fill(tb testing.TB, b readalong.Book, millis int64, segments ...readalong.Segment) {
	tb.Helper()
	c := readalong.Chapter{Title: "One", Audio: "chapter-001.m4a", Media: "audio/mp4", Millis: millis}
	require.NoError(tb, b.Begin(c))
	for _, s := range segments {
		require.NoError(tb, b.Add(s))
	}
	audio := []byte("not really sound")
	require.NoError(tb, b.Audio(c, int64(len(audio)), crc32.ChecksumIEEE(audio), bytes.NewReader(audio)))
	require.NoError(tb, b.Close())
}

// annotate returns the files of an annotated EPUB.
func annotate(tb testing.TB, source []byte, millis int64, segments ...readalong.Segment) (map[string]string, readalong.Counts) {
	tb.Helper()
	var out bytes.Buffer
	b, err := readalong.Annotate(&out, meta, bytes.NewReader(source), int64(len(source)))
	require.NoError(tb, err)
	fill(tb, b, millis, segments...)
	return unpack(tb, out.Bytes()), b.Counts()
}

func unpack(tb testing.TB, data []byte) map[string]string {
	tb.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(tb, err)
	require.Equal(tb, "mimetype", z.File[0].Name)
	require.Equal(tb, "mimetypeapplication/epub+zip", string(data[30:58]), "it stands where readers look for it")
	files := map[string]string{}
	for _, f := range z.File {
		require.NotContains(tb, files, f.Name)
		r, err := f.Open()
		require.NoError(tb, err)
		raw, err := io.ReadAll(r)
		require.NoError(tb, err)
		require.NoError(tb, r.Close())
		files[f.Name] = string(raw)
		if strings.HasSuffix(f.Name, ".xhtml") || strings.HasSuffix(f.Name, ".smil") || strings.HasSuffix(f.Name, ".opf") {
			wellFormed(tb, f.Name, raw)
		}
	}
	return files
}

func wellFormed(tb testing.TB, name string, raw []byte) {
	tb.Helper()
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(tb, err, "%s: %s", name, raw)
	}
}

// check has epubcheck look at a book, if it is there: `make check-read-along` needs it.
func check(t *testing.T, data []byte) {
	t.Helper()
	jar := os.Getenv("VOICEMILL_EPUBCHECK")
	if jar == "" {
		return
	}
	path := filepath.Join(t.TempDir(), "book.epub")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	out, err := exec.CommandContext(t.Context(), "java", "-jar", jar, path).CombinedOutput() //nolint:gosec // of our own
	require.NoError(t, err, "%s", out)
}
