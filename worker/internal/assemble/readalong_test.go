package assemble_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

const readAlongPage = `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title></head><body><p>Hello there.</p><p>The end.</p></body></html>`

// epub is a small EPUB 3.
func epub(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"mimetype", job.MediaEPUB},
		{"META-INF/container.xml", `<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile full-path="p.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`},
		{"p.opf", `<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata></metadata><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>`},
		{"a.xhtml", readAlongPage},
	} {
		w, err := z.Create(f[0])
		require.NoError(t, err)
		_, err = io.WriteString(w, f[1])
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

// readAlong plans, joins and ends a job of two chapters that asks for the book, of a
// document that put stores, and returns its manifest and the files of the book.
func readAlong(t *testing.T, media string, document []byte) (m readAlongManifest, book []byte, files map[string]string) {
	t.Helper()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "Hello there."), plantest.Sentences("Two", "The end.")}})
	exec := func(sql string, args ...any) {
		_, err := b.db.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	key := "uploads/default/" + string(p.ID)
	if document != nil {
		_, err := b.blob.Put(t.Context(), key, bytes.NewReader(document), int64(len(document)), blob.PutOptions{})
		require.NoError(t, err)
	}
	exec(`update jobs set spec = jsonb_set(jsonb_set(spec, '{output}', '{"formats": ["wav", "mp3"], "read_along": true}'), '{input}', jsonb_build_object('media_type', $2::text)),
		source_key = $3 where id = $1`, p.ID, media, key)
	at := func(text string) int { return strings.Index(readAlongPage, text) }
	exec(`update blocks set documents = '{a.xhtml,a.xhtml}', starts = $2, ends = $3 where job = $1`, p.Num,
		[]int64{int64(at("Hello")), int64(at("The"))}, []int64{int64(at("there.") + 6), int64(at("end.") + 4)})
	b.render(t, p, func(bus.Segment) (int, []int16) { return rate, ramp(rate) })
	for i := 1; i <= 2; i++ {
		b.do(t, p.ID, i)
		name, sound := fmt.Sprintf("chapter-%03d.mp3", i), fmt.Appendf(nil, "sound %d", i)
		sum := sha256.Sum256(sound)
		file := fmt.Sprintf("jobs/default/%s/x/%s", p.ID, name)
		_, err := b.blob.Put(t.Context(), file, bytes.NewReader(sound), int64(len(sound)), blob.PutOptions{})
		require.NoError(t, err)
		exec(`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, coded_samples) values ($1, $2, 'audio/mpeg', $3, $4, $5, 1)`, p.ID, name, file, len(sound), sum[:])
	}
	exec(`update chapters set encoded_at = now() where job_id = $1`, p.ID)
	exec(`update jobs set bound_at = now() where id = $1`, p.ID)
	exec(`delete from outbox where kind = 'encode' and job_id = $1`, p.ID)
	exec(`select advance_job($1)`, p.ID)
	b.do(t, p.ID, 0)
	require.NoError(t, json.Unmarshal(b.read(t, p.ID, "manifest.json"), &m))
	book, files = b.read(t, p.ID, "book.epub"), map[string]string{}
	z, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	require.NoError(t, err)
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		files[f.Name] = string(raw)
	}
	return m, book, files
}

type readAlongManifest struct {
	Files     []struct{ Name string }
	ReadAlong json.RawMessage `json:"read_along"`
}

func TestTheEPUBThatWasHandedInReadsAlong(t *testing.T) {
	t.Parallel()
	m, first, files := readAlong(t, job.MediaEPUB, epub(t))
	require.JSONEq(t, `{"file":"book.epub","of":"document","sentences":2,"in_paragraph":0,"unplaced":0}`, string(m.ReadAlong))
	require.Contains(t, m.Files, struct{ Name string }{"book.epub"})
	require.Contains(t, files["a.xhtml"], `<p id="vm-1">Hello there.</p><p id="vm-2">The end.</p>`)
	require.Contains(t, files["read-along/overlay-001.smil"], `<text src="../a.xhtml#vm-1"/><audio src="chapter-001.mp3" clipBegin="0.000s" clipEnd="2.500s"/>`)
	require.Contains(t, files["read-along/overlay-001.smil"], `<text src="../a.xhtml#vm-2"/><audio src="chapter-002.mp3" clipBegin="0.000s" clipEnd="2.500s"/>`)
	require.Equal(t, "sound 2", files["read-along/chapter-002.mp3"])
	require.Contains(t, files["p.opf"], `<meta property="media:duration">5.000s</meta>`)
	_, again, _ := readAlong(t, job.MediaEPUB, epub(t))
	require.Equal(t, first, again, "another job of the same book")
}

func TestABookOfItsOwnReadsAlong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		media    string
		document []byte
		told     string
	}{
		"a text":                  {job.MediaText, []byte("Hello there."), `{"file":"book.epub","of":"text","sentences":2,"in_paragraph":0,"unplaced":0}`},
		"an EPUB that is none":    {job.MediaEPUB, []byte("PK"), `{"file":"book.epub","of":"text","reason":"It is no readable ZIP archive.","sentences":2,"in_paragraph":0,"unplaced":0}`},
		"an EPUB that is deleted": {job.MediaEPUB, nil, `{"file":"book.epub","of":"text","reason":"The document is not there any more.","sentences":2,"in_paragraph":0,"unplaced":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _, files := readAlong(t, c.media, c.document)
			require.JSONEq(t, c.told, string(m.ReadAlong))
			require.Contains(t, files["EPUB/chapter-002.xhtml"], `<span id="s1">The end.</span>`)
			require.Contains(t, files["EPUB/chapter-002.smil"], `src="chapter-002.mp3"`)
		})
	}
}
