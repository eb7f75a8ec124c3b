package manuscript_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// requireFault checks that err is a fault of the document whose public sentence
// holds text.
func requireFault(t *testing.T, err error, text string) {
	t.Helper()
	var fault *job.Error
	require.ErrorAs(t, err, &fault)
	require.Contains(t, []job.Kind{job.Invalid, job.TooLarge}, fault.Kind)
	require.Contains(t, fault.Public, text)
	require.True(t, strings.HasSuffix(fault.Public, "."), "%q is no sentence", fault.Public)
	require.Equal(t, strings.ToUpper(fault.Public[:1]), fault.Public[:1])
}

func TestFaultsAreNamed(t *testing.T) {
	t.Parallel()
	page := file{"OPS/c.xhtml", xhtml("<p>x</p>")}
	one := opf([]string{"c c.xhtml"}, "c", "")
	drm := func(algorithm, target string) file {
		return file{"META-INF/encryption.xml", `<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData><e:EncryptionMethod Algorithm="` + algorithm +
			`"/><e:CipherData><e:CipherReference URI="` + target + `"/></e:CipherData></e:EncryptedData></encryption>`}
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"not a ZIP":                     {[]byte("no zip at all"), "no readable ZIP"},
		"an empty document":             {nil, "no readable ZIP"},
		"a ZIP cut short":               {epub(t, one, page)[:300], "no readable ZIP"},
		"no container":                  {zipOf(t, page), `lacks the file "META-INF/container.xml"`},
		"a container that names none":   {epub(t, file{"META-INF/container.xml", "<container/>"}, page), "names no package document"},
		"a container that is no XML":    {epub(t, file{"META-INF/container.xml", "<<<"}, page), "not readable XML"},
		"no package document":           {epub(t, page), `lacks its package document "OPS/book.opf"`},
		"a package that is no XML":      {epub(t, file{"OPS/book.opf", "<package><"}, page), `"OPS/book.opf" in the EPUB is not readable XML`},
		"an empty reading order":        {epub(t, opf([]string{"c c.xhtml"}, "", ""), page), "no documents in its reading order"},
		"an id without an item":         {epub(t, opf([]string{"c c.xhtml"}, "c d", ""), page), `names "d"`},
		"a document that is missing":    {epub(t, opf([]string{"c c.xhtml", "d d.xhtml"}, "c d", ""), page), `lacks the file "OPS/d.xhtml"`},
		"an encrypted document":         {epub(t, one, page, drm("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OPS/c.xhtml")), "protected by DRM"},
		"no text":                       {small(t, "<p> </p><p>***</p>"), "no text to speak"},
		"pictures alone":                {small(t, `<img src="x.png" alt="A cat"/>`), "no text to speak"},
		"a document that is not text":   {small(t, "<p>a\x00b</p>"), `The file "OPS/c.xhtml" is not text`},
		"a table of contents cut short": {epub(t, opf([]string{"c c.xhtml", "ncx toc.ncx"}, "c", ""), page, file{"OPS/toc.ncx", "<ncx><"}), `"OPS/toc.ncx" in the EPUB is not readable XML`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFault(t, readError(t, c.raw, manuscript.TypeEPUB, manuscript.Options{}), c.want)
		})
	}
}

func TestLimitsRefuseBombs(t *testing.T) {
	t.Parallel()
	one := opf([]string{"c c.xhtml"}, "c", "")
	bomb := epub(t, one, file{"OPS/c.xhtml", xhtml("<p>x</p>" + strings.Repeat(" ", 3<<20))})
	book := epub(t, one, file{"OPS/c.xhtml", xhtml("<p>x</p>")})
	for name, c := range map[string]struct {
		raw    []byte
		limits manuscript.Limits
		want   string
	}{
		"a file packed too tightly": {bomb, manuscript.Limits{}, "as in a ZIP bomb"},
		"a file too large":          {bomb, manuscript.Limits{DocumentBytes: 1 << 20}, "larger than 1 MiB"},
		"too many files":            {book, manuscript.Limits{Entries: 3}, "more than 3 files"},
		"too much in all":           {book, manuscript.Limits{TotalBytes: 700}, "unpacks to more than 700 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := readError(t, c.raw, manuscript.TypeEPUB, manuscript.Options{Limits: c.limits})
			requireFault(t, err, c.want)
			require.Equal(t, job.TooLarge, job.KindOf(err))
		})
	}
}

func TestVeiledFontsAreNoDRM(t *testing.T) {
	t.Parallel()
	raw := small(t, "<p>Read me.</p>", file{"META-INF/encryption.xml", `<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/><CipherData><CipherReference URI="OPS/c.xhtml"/></CipherData></EncryptedData>
<EncryptedData><EncryptionMethod Algorithm="urn:other"/><CipherData><CipherReference URI="OPS/font.otf"/></CipherData></EncryptedData></encryption>`})
	_, chapters := read(t, raw, manuscript.TypeEPUB)
	require.Equal(t, []string{"Read me."}, texts(chapters))
}

func TestFaultsOfSingleDocumentsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, mediaType, want string }{
		"an unknown type":         {"x", "application/pdf", `media type "application/pdf"`},
		"an empty text":           {"", manuscript.TypePlain, "no text to speak"},
		"a text of signs":         {"... --- ...", manuscript.TypePlain, "no text to speak"},
		"zero bytes":              {"a\x00b", manuscript.TypePlain, "zero bytes"},
		"a page without text":     {"<html><head><title>T</title></head></html>", manuscript.TypeHTML, "no text to speak"},
		"code alone":              {"```go\nx := 1\n```\n", manuscript.TypeMarkdown, "no text to speak"},
		"quotations without end":  {strings.Repeat(">", 5000) + " x", manuscript.TypeMarkdown, "nests its quotations"},
		"lists without end":       {strings.Repeat("- ", 5000) + " x", manuscript.TypeMarkdown, "nests its quotations"},
		"links without end":       {strings.Repeat("[a](<b", 50_000) + "x", manuscript.TypeMarkdown, "too many marks"},
		"definitions without end": {strings.Repeat("[a]: /b\n", 50_000) + "x", manuscript.TypeMarkdown, "too many marks"},
		"notes without end":       {strings.Repeat("[^a]: b\n\n", 20_000) + "x", manuscript.TypeMarkdown, "too many marks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFault(t, readError(t, []byte(c.text), c.mediaType, manuscript.Options{}), c.want)
		})
	}
	err := readError(t, []byte("long text"), manuscript.TypePlain, manuscript.Options{Limits: manuscript.Limits{DocumentBytes: 4}})
	requireFault(t, err, "larger than 4 bytes")
}

func TestReadingEndsWhenTheReaderHasEnough(t *testing.T) {
	t.Parallel()
	doc, err := open(t, []byte("<h2>A</h2><p>x</p><h2>B</h2><p>x</p>"), manuscript.TypeHTML, manuscript.Options{})
	require.NoError(t, err)
	for range 2 { // a sequence may be started again
		n := 0
		for _, err := range doc.Chapters() {
			require.NoError(t, err)
			n++
			break
		}
		require.Equal(t, 1, n)
	}
	require.NoError(t, doc.Close())
	for c, err := range doc.Chapters() {
		require.Nil(t, c)
		require.Error(t, err)
		require.Equal(t, job.Internal, job.KindOf(err))
	}
}

func TestErrorsOfTheReaderAreNotTheOwners(t *testing.T) {
	t.Parallel()
	_, err := manuscript.Open(t.Context(), brokenReader{}, 100, manuscript.TypePlain, manuscript.Options{})
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, job.Internal, job.KindOf(err))
}

var errBroken = errors.New("broken")

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errBroken }
