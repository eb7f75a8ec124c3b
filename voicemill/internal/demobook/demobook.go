package demobook

import (
	"archive/zip"
	"embed"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"
)

// Title is the title of the book, as in its metadata.
const Title = "The Pilot’s Rule"

// FileName is the name a caller would give the file; it is safe on every
// file system.
const FileName = "the-pilots-rule.epub"

const (
	mimetype  = "application/epub+zip"
	container = "container.xml"
	folder    = "EPUB/"
)

//go:embed book
var book embed.FS

// Write writes the book to w as one EPUB 3 file of about 31 KB. A binary
// writes the same bytes every time. The error is that of w, wrapped; w then
// holds a part of the file.
func Write(w io.Writer) error {
	archive := zip.NewWriter(w)
	if err := addMimetype(archive); err != nil {
		return fmt.Errorf("write mimetype: %w", err)
	}
	if err := addFile(archive, container, "META-INF/"+container); err != nil {
		return err
	}
	entries, err := fs.ReadDir(book, "book")
	if err != nil {
		return fmt.Errorf("list the book: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == container {
			continue
		}
		if err := addFile(archive, entry.Name(), folder+entry.Name()); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("finish the archive: %w", err)
	}
	return nil
}

// addMimetype writes the entry by which a reader knows an EPUB from its first
// bytes: stored, with its sizes in front and no extra field.
func addMimetype(archive *zip.Writer) error {
	w, err := archive.CreateRaw(&zip.FileHeader{
		Name:               "mimetype",
		Method:             zip.Store,
		CRC32:              crc32.ChecksumIEEE([]byte(mimetype)),
		CompressedSize64:   uint64(len(mimetype)),
		UncompressedSize64: uint64(len(mimetype)),
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, mimetype)
	return err
}

// addFile copies one file of the book into the archive under the name given.
func addFile(archive *zip.Writer, file, name string) error {
	data, err := book.ReadFile("book/" + file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	w, err := archive.CreateHeader(&zip.FileHeader{
		Name:     name,
		Method:   zip.Deflate,
		Modified: time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	return nil
}
