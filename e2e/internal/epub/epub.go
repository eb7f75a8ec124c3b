package epub

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"html"
	"strings"
)

// Names of the files of a book that [Files] writes.
const (
	Mimetype  = "mimetype"
	Container = "META-INF/container.xml"
	Package   = "EPUB/package.opf"
	Nav       = "EPUB/nav.xhtml"
)

// Chapter is one document of the reading order.
type Chapter struct {
	File  string // in the folder EPUB
	Title string // in the table of contents
	Body  string // XHTML, without the body element
	Inner []Link // entries below the chapter's own
}

// Link is an entry of the table of contents within a chapter's file.
type Link struct{ Fragment, Title string }

// File is one file of the archive.
type File struct{ Name, Body string }

// Files returns the files of a book: an EPUB 3 in English.
func Files(title string, chapters ...Chapter) []File {
	var items, refs, toc strings.Builder
	var files []File
	for i, c := range chapters {
		fmt.Fprintf(&items, `<item id="c%d" href="%s" media-type="application/xhtml+xml"/>`+"\n", i, c.File)
		fmt.Fprintf(&refs, `<itemref idref="c%d"/>`+"\n", i)
		fmt.Fprintf(&toc, `<li><a href="%s">%s</a>`, c.File, html.EscapeString(c.Title))
		for _, in := range c.Inner {
			fmt.Fprintf(&toc, `<ol><li><a href="%s#%s">%s</a></li></ol>`, c.File, in.Fragment, html.EscapeString(in.Title))
		}
		toc.WriteString("</li>\n")
		files = append(files, File{"EPUB/" + c.File, Page(`<title>`+html.EscapeString(c.Title)+`</title>`, c.Body)})
	}
	return append([]File{
		{Mimetype, "application/epub+zip"},
		{Container, `<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>` +
			`<rootfile full-path="` + Package + `" media-type="application/oebps-package+xml"/></rootfiles></container>`},
		{Package, `<?xml version="1.0" encoding="UTF-8"?><package version="3.0" xmlns="http://www.idpf.org/2007/opf" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:test</dc:identifier><dc:title>` + html.EscapeString(title) +
			`</dc:title><dc:language>en</dc:language></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>` + "\n" + items.String() + `</manifest>
<spine>` + "\n" + refs.String() + `</spine></package>`},
		{Nav, Page(`<title>Contents</title>`, `<nav epub:type="toc"><ol>`+toc.String()+`</ol></nav>`)},
	}, files...)
}

// Page returns an XHTML document.
func Page(head, body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en"><head>` + head + "</head>\n<body>\n" + body + "\n</body></html>\n"
}

// Zip packs files as they are.
func Zip(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, f := range files {
		if err := add(w, f); err != nil {
			return nil, fmt.Errorf("add %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finish the archive: %w", err)
	}
	return buf.Bytes(), nil
}

func add(w *zip.Writer, f File) error {
	if f.Name == Mimetype { // stored and bare, so that its bytes are at a known place
		raw, err := w.CreateRaw(&zip.FileHeader{
			Name: f.Name, Method: zip.Store, CRC32: crc32.ChecksumIEEE([]byte(f.Body)),
			CompressedSize64: uint64(len(f.Body)), UncompressedSize64: uint64(len(f.Body)),
		})
		if err != nil {
			return err
		}
		_, err = raw.Write([]byte(f.Body))
		return err
	}
	entry, err := w.Create(f.Name)
	if err != nil {
		return err
	}
	_, err = entry.Write([]byte(f.Body))
	return err
}
