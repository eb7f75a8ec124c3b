package demobook_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/voicemill/internal/demobook"
)

func TestMimetypeComesFirstStoredAndBare(t *testing.T) {
	t.Parallel()
	data := write(t)
	first := open(t, data).File[0]
	if first.Name != "mimetype" || first.Method != zip.Store || len(first.Extra) != 0 {
		t.Errorf("first entry = %q, method %d, %d bytes extra; want mimetype, stored, none", first.Name, first.Method, len(first.Extra))
	}
	// A reader may look for the type at this place without opening the archive.
	if got, want := string(data[30:58]), "mimetypeapplication/epub+zip"; got != want {
		t.Errorf("bytes 30 to 58 = %q; want %q", got, want)
	}
}

func TestTwoWritesGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(write(t), write(t)) {
		t.Error("two books differ")
	}
}

func TestWriteReportsTheErrorOfItsWriter(t *testing.T) {
	t.Parallel()
	for limit := 0; limit < len(write(t)); limit += 4096 {
		if err := demobook.Write(&fullDisk{left: limit}); !errors.Is(err, errDiskFull) {
			t.Errorf("Write to a disk with %d bytes left = %v; want %v", limit, err, errDiskFull)
		}
	}
}

func TestManifestAndArchiveNameTheSameFiles(t *testing.T) {
	t.Parallel()
	files := read(t)
	declared := []string{"META-INF/container.xml", "mimetype"}
	root := rootFile(t, files)
	declared = append(declared, root)
	for _, item := range readPackage(t, files).Items {
		declared = append(declared, path.Join(path.Dir(root), item.Href))
	}
	var stored []string
	for name := range files {
		stored = append(stored, name)
	}
	slices.Sort(declared)
	slices.Sort(stored)
	if !slices.Equal(declared, stored) {
		t.Errorf("declared %q; stored %q", declared, stored)
	}
}

func TestMetadataCarriesTheTitle(t *testing.T) {
	t.Parallel()
	if got := readPackage(t, read(t)).Titles; len(got) == 0 || got[0] != demobook.Title {
		t.Errorf("titles = %q; want %q first", got, demobook.Title)
	}
}

func TestSpineListsEightChaptersThatParse(t *testing.T) {
	t.Parallel()
	spine := spine(t)
	var chapters int
	for _, doc := range spine {
		if doc.body == nil {
			t.Errorf("%s has no body", doc.name)
		}
		if len(doc.find("epub:type", "chapter")) == 1 {
			chapters++
		}
	}
	if chapters != 8 {
		t.Errorf("the spine has %d chapters; want 8", chapters)
	}
}

func TestContentsAgreeWithTheHeadings(t *testing.T) {
	t.Parallel()
	files := read(t)
	var headings, nav, ncx []string
	for _, doc := range spine(t) {
		if len(doc.find("epub:type", "chapter")) == 1 {
			headings = append(headings, path.Base(doc.name)+" "+doc.root.first("h1").text())
		}
	}
	toc := parse(t, "nav.xhtml", files["EPUB/nav.xhtml"]).find("epub:type", "toc")[0]
	for _, link := range toc.all("a") {
		nav = append(nav, link.attr["href"]+" "+link.text())
	}
	for _, point := range parse(t, "toc.ncx", files["EPUB/toc.ncx"]).root.all("navPoint") {
		ncx = append(ncx, point.first("content").attr["src"]+" "+point.first("text").text())
	}
	if !slices.Equal(nav, headings) || !slices.Equal(ncx, headings) {
		t.Errorf("headings %q; nav %q; ncx %q; want the same", headings, nav, ncx)
	}
}

func TestEveryNoterefHasANoteThatLinksBack(t *testing.T) {
	t.Parallel()
	var refs, notes int
	for _, doc := range spine(t) {
		notes += len(doc.find("epub:type", "footnote"))
		for _, ref := range doc.find("epub:type", "noteref") {
			refs++
			note := doc.byID(strings.TrimPrefix(ref.attr["href"], "#"))
			if note == nil || note.attr["epub:type"] != "footnote" {
				t.Errorf("%s: %s has no footnote", doc.name, ref.attr["href"])
				continue
			}
			back := note.first("a")
			if back == nil || back.attr["href"] != "#"+ref.attr["id"] {
				t.Errorf("%s: %s does not link back to #%s", doc.name, ref.attr["href"], ref.attr["id"])
			}
		}
	}
	if refs < 3 || refs != notes {
		t.Errorf("%d references to %d notes; want as many, and three at least", refs, notes)
	}
}

func TestChaptersHaveAboutEightThousandWords(t *testing.T) {
	t.Parallel()
	var total int
	for _, doc := range spine(t) {
		if len(doc.find("epub:type", "chapter")) != 1 {
			continue
		}
		words := len(strings.Fields(doc.body.text()))
		t.Logf("%s: %d words", doc.name, words)
		if words < 700 || words > 1400 {
			t.Errorf("%s has %d words; want 700 to 1,400", doc.name, words)
		}
		total += words
	}
	t.Logf("%d words in all", total)
	if total < 7600 || total > 8600 {
		t.Errorf("the chapters have %d words; want 7,600 to 8,600", total)
	}
}

func TestBookHoldsWhatReadersStumbleOver(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	languages := map[string]bool{}
	elements := map[string]bool{}
	types := map[string]bool{}
	for _, doc := range spine(t) {
		text.WriteString(doc.body.text())
		for n := range doc.root.walk {
			elements[n.name] = true
			languages[n.attr["xml:lang"]] = true
			types[n.attr["epub:type"]] = true
		}
	}
	for _, want := range []string{
		"1,204", "3.5 ", "14 March 1987", "$3.50", "22:45", "February 3rd",
		"Dr. ", "e.g., ", "i.e., ", "St. ", "a.m.", "No. ", "Mrs. ", "“", "’",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the book does not contain %q", want)
		}
	}
	for kind, missing := range map[string][]string{
		"language":  without([]string{"en", "pt", "la", "fr"}, languages),
		"element":   without([]string{"blockquote", "ul", "li", "table", "caption", "em", "sup"}, elements),
		"epub:type": without([]string{"epigraph", "z3998:poem", "footnote", "noteref", "titlepage", "colophon"}, types),
	} {
		if len(missing) > 0 {
			t.Errorf("no %s %q in the book", kind, missing)
		}
	}
}

func without(want []string, have map[string]bool) []string {
	return slices.DeleteFunc(want, func(s string) bool { return have[s] })
}

var errDiskFull = errors.New("disk full")

// fullDisk takes left bytes and then refuses.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.left)
	d.left -= n
	if n < len(p) {
		return n, errDiskFull
	}
	return n, nil
}

func write(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := demobook.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t *testing.T, data []byte) *zip.Reader {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// read unpacks the book by name; a name that occurs twice fails.
func read(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, f := range open(t, write(t)).File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if _, twice := files[f.Name]; twice {
			t.Fatalf("%s is in the archive twice", f.Name)
		}
		files[f.Name] = data
	}
	return files
}

// opf is the part of a package document that the tests look at.
type opf struct {
	Titles []string `xml:"metadata>title"`
	Items  []struct {
		ID   string `xml:"id,attr"`
		Href string `xml:"href,attr"`
	} `xml:"manifest>item"`
	Refs []struct {
		IDRef string `xml:"idref,attr"`
	} `xml:"spine>itemref"`
}

func rootFile(t *testing.T, files map[string][]byte) string {
	t.Helper()
	var c struct {
		Root struct {
			Path string `xml:"full-path,attr"`
		} `xml:"rootfiles>rootfile"`
	}
	if err := xml.Unmarshal(files["META-INF/container.xml"], &c); err != nil {
		t.Fatal(err)
	}
	return c.Root.Path
}

func readPackage(t *testing.T, files map[string][]byte) opf {
	t.Helper()
	var p opf
	if err := xml.Unmarshal(files[rootFile(t, files)], &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func spine(t *testing.T) []document {
	t.Helper()
	files := read(t)
	p := readPackage(t, files)
	hrefs := map[string]string{}
	for _, item := range p.Items {
		hrefs[item.ID] = path.Join(path.Dir(rootFile(t, files)), item.Href)
	}
	var docs []document
	for _, ref := range p.Refs {
		data, ok := files[hrefs[ref.IDRef]]
		if !ok {
			t.Fatalf("the spine names %q, which the archive lacks", ref.IDRef)
		}
		docs = append(docs, parse(t, hrefs[ref.IDRef], data))
	}
	return docs
}
