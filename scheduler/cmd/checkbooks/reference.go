package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
)

// readReference returns the text that pandoc reads from a book.
func readReference(ctx context.Context, name string) (string, error) {
	files, copied, err := prepare(name)
	if err != nil {
		return "", err
	}
	defer os.Remove(copied) //nolint:errcheck // a temporary file
	var out, complaint bytes.Buffer
	// Without epub_html_exts pandoc leaves notes where they stand.
	cmd := exec.CommandContext(ctx, "pandoc", "--from=epub-epub_html_exts", "--to=json", copied)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("pandoc cannot read it: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	var tree struct {
		Blocks []node `json:"blocks"`
	}
	if err := json.Unmarshal(out.Bytes(), &tree); err != nil {
		return "", fmt.Errorf("read pandoc's tree: %w", err)
	}
	var text strings.Builder
	for _, part := range split(tree.Blocks, files) {
		w := treeWalker{}
		w.blocks(part.blocks)
		if part.nav && (part.nonLinear || !w.prose) {
			continue
		}
		text.WriteString(w.text.String())
		text.WriteByte('\n')
	}
	return text.String(), nil
}

// spineFile is a document of the reading order.
type spineFile struct{ nav, nonLinear bool }

// packaged is the part of a package document that is needed here.
type packaged struct {
	Items []struct {
		ID         string `xml:"id,attr"`
		Href       string `xml:"href,attr"`
		Properties string `xml:"properties,attr"`
	} `xml:"manifest>item"`
	Refs []struct {
		ID     string `xml:"idref,attr"`
		Linear string `xml:"linear,attr"`
	} `xml:"spine>itemref"`
}

var (
	rootFile   = regexp.MustCompile(`full-path\s*=\s*["']([^"']+)["']`)
	itemRef    = regexp.MustCompile(`<(?:\w+:)?itemref\b[^>]*>`)
	nonLinear  = regexp.MustCompile(`\slinear\s*=\s*["']no["']`)
	typesValue = regexp.MustCompile(`epub:type\s*=\s*["'][^"']*["']`)
	titlePage  = regexp.MustCompile(`\btitlepage\b`)
)

// prepare writes a copy of the book in which two things are undone that make
// pandoc leave text out: linear="no" in the spine (the navigation document
// keeps it) and the type titlepage. It returns the documents of the reading
// order by base name.
func prepare(name string) (files map[string]spineFile, copied string, err error) {
	in, err := zip.OpenReader(name)
	if err != nil {
		return nil, "", err
	}
	defer in.Close() //nolint:errcheck // reading
	container, err := readFile(&in.Reader, "META-INF/container.xml")
	if err != nil {
		return nil, "", err
	}
	root := rootFile.FindSubmatch(container)
	if root == nil {
		return nil, "", errors.New("no package document is named")
	}
	opf, err := readFile(&in.Reader, string(root[1]))
	if err != nil {
		return nil, "", err
	}
	var p packaged
	if err := xml.Unmarshal(opf, &p); err != nil {
		return nil, "", fmt.Errorf("read the package document: %w", err)
	}
	files, navID := spineFiles(&p)
	out, err := os.CreateTemp("", "checkbooks-*.epub")
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return files, out.Name(), rewrite(&in.Reader, out, string(root[1]), navID)
}

func spineFiles(p *packaged) (files map[string]spineFile, navID string) {
	files = map[string]spineFile{}
	for _, ref := range p.Refs {
		for _, item := range p.Items {
			if item.ID != ref.ID {
				continue
			}
			nav := strings.Contains(" "+item.Properties+" ", " nav ")
			if nav {
				navID = item.ID
			}
			href := item.Href
			if unescaped, err := url.PathUnescape(href); err == nil {
				href = unescaped
			}
			files[path.Base(href)] = spineFile{nav: nav, nonLinear: ref.Linear == "no"}
		}
	}
	return files, navID
}

// readFile returns the content of a file of a ZIP.
func readFile(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // reading
	return io.ReadAll(f)
}

func rewrite(in *zip.Reader, out io.Writer, opfName, navID string) error {
	z := zip.NewWriter(out)
	for _, f := range in.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		content, err := readFile(in, f.Name)
		if err != nil {
			return err
		}
		switch ext := strings.ToLower(path.Ext(f.Name)); {
		case f.Name == opfName:
			content = itemRef.ReplaceAllFunc(content, func(ref []byte) []byte {
				if navID != "" && bytes.Contains(ref, []byte(`"`+navID+`"`)) {
					return ref
				}
				return nonLinear.ReplaceAll(ref, nil)
			})
		case ext == ".xhtml" || ext == ".html" || ext == ".htm" || ext == ".xml":
			content = typesValue.ReplaceAllFunc(content, func(types []byte) []byte {
				return titlePage.ReplaceAll(types, []byte("title-page"))
			})
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.Name, Method: f.Method})
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return z.Close()
}

// part is the blocks of one document of the reading order.
type part struct {
	spineFile

	blocks []node
}

// split divides the blocks at the marks that pandoc sets before each document:
// a paragraph of one empty span whose id is the document's name.
func split(blocks []node, files map[string]spineFile) []part {
	parts := []part{{}}
	for _, b := range blocks {
		if name, ok := documentMark(b); ok {
			if f, known := files[name]; known {
				parts = append(parts, part{spineFile: f})
				continue
			}
		}
		last := &parts[len(parts)-1]
		last.blocks = append(last.blocks, b)
	}
	return parts
}

func documentMark(b node) (string, bool) {
	if b.Type != "Para" {
		return "", false
	}
	inlines := b.nodes()
	if len(inlines) != 1 || inlines[0].Type != "Span" {
		return "", false
	}
	var content []json.RawMessage
	var a attr
	if json.Unmarshal(inlines[0].Content, &content) != nil || len(content) != 2 || json.Unmarshal(content[0], &a) != nil {
		return "", false
	}
	return a.id, string(content[1]) == "[]"
}
