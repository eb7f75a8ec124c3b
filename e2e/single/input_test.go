package single_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/epub"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

const (
	uploadBytes = 1 << 20   // the limit of the server under test
	textBytes   = 256 << 10 // the published limit
	bodyBytes   = 1 << 20   // as above
)

// refusal is a request that must not become a job.
type refusal struct {
	body    string
	header  []string
	status  int
	slug    string // of the problem's type
	pointer []string
	says    string
}

func refusals() map[string]refusal {
	text := func(rest string) string { return `{"input":{"text":"Hello."},"language":"en"` + rest + `}` }
	faulty := func(body, says string, pointer ...string) refusal {
		return refusal{body: body, status: 422, slug: "invalid-request", pointer: pointer, says: says}
	}
	all := map[string]refusal{
		"not JSON":              {body: `{"input":`, status: 400, slug: "not-json"},
		"JSON and more":         {body: text("") + "x", status: 400, slug: "not-json"},
		"no body":               {body: "", status: 400, slug: "not-json"},
		"another type of body":  {body: "Hello.", header: []string{"Content-Type", "text/plain"}, status: 415, slug: "unsupported-media-type"},
		"a body over the limit": {body: text(`,"labels":{"a":"` + strings.Repeat("x", bodyBytes) + `"}`), status: 413, slug: "too-large"},
		"text over the limit": {
			body: `{"input":{"text":"` + strings.Repeat("word ", textBytes/5+1) + `"}}`, status: 413, slug: "text-too-large", pointer: []string{"/input/text"},
		},
		"an unknown field":         faulty(text(`,"colour":"red"`), "", "/colour"),
		"an unknown field inside":  faulty(`{"input":{"txt":"Hello."}}`, "", "/input/txt"),
		"a list":                   faulty(`[]`, "", ""),
		"a number for a text":      faulty(`{"input":{"text":7}}`, "", "/input/text"),
		"nothing at all":           faulty(`{}`, "nothing to speak", "/input"),
		"empty text":               faulty(`{"input":{"text":""}}`, "nothing to speak", "/input"),
		"text without a word":      faulty(`{"input":{"text":" …! "}}`, "no letter or digit", "/input/text"),
		"a control character":      faulty(`{"input":{"text":"Hello\u0000."}}`, "control character", "/input/text"),
		"no segments":              faulty(`{"input":{"segments":[]}}`, "the list is empty", "/input/segments"),
		"an empty segment":         faulty(`{"input":{"segments":[{"text":"One."},{"text":""}]}}`, "", "/input/segments/1/text"),
		"two inputs":               faulty(`{"input":{"text":"One.","segments":[{"text":"Two."}]}}`, "exactly one", "/input"),
		"an unknown voice":         faulty(text(`,"voice":"nobody"`), `"nobody" is not known`, "/voice"),
		"an unknown format":        faulty(text(`,"output":{"formats":["wav","8track"]}`), `"8track" is not known`, "/output/formats/1"),
		"a language nobody speaks": faulty(`{"input":{"text":"Hello."},"language":"tlh"}`, `"tlh"`, "/language"),
		"a language that is none":  faulty(`{"input":{"text":"Hello."},"language":"English!"}`, "BCP 47", "/language"),
		"an EPUB in the request":   faulty(`{"input":{"text":"PK","media_type":"application/epub+zip"}}`, "must be uploaded", "/input/media_type"),
		"an unknown kind of text":  faulty(`{"input":{"text":"Hello.","media_type":"application/pdf"}}`, "cannot be read", "/input/media_type"),
		"an unknown upload":        faulty(`{"input":{"upload":"upl_unknown"}}`, "not known", "/input/upload"),
		"a path for an upload":     faulty(`{"input":{"upload":"../../etc/passwd"}}`, "not known", "/input/upload"),
		"every fault at once": faulty(`{"input":{"text":""},"speed":9,"priority":99,"class":"first","on_failure":"cry","output":{"formats":["x"],"pauses":{"chapter":99}},"voice":"nobody"}`,
			"", "/class", "/input", "/on_failure", "/output/formats/0", "/output/pauses/chapter", "/priority", "/speed", "/voice"),
	}
	for _, host := range []string{
		"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "172.16.0.1", "192.168.1.1",
		"169.254.169.254", "100.64.0.1", "0.0.0.0", "[fd00::1]", "[fe80::1]", "localhost", "LOCALHOST.", "db.internal", "printer.local", "224.0.0.1",
	} {
		all["a callback to "+host] = faulty(text(`,"callback":{"url":"http://`+host+`/hook"}`), "", "/callback/url")
	}
	for name, url := range map[string]string{
		"a callback that is no URL": "hook", "a callback to a file": "file:///etc/passwd", "a callback with a password": "https://a:b@example.com/",
		"a callback to a port that none is sent to": "https://example.com:8080/hook",
	} {
		all[name] = faulty(text(`,"callback":{"url":"`+url+`"}`), "", "/callback/url")
	}
	return all
}

func TestARefusedRequestNamesItsFaultsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{Args: []string{fmt.Sprintf("--upload-bytes=%d", uploadBytes)}})
	c := caller.New(t, s)
	db := open(ctx, t, s)
	wantRows, wantObjects := rows(ctx, t, db), objects(t, s)

	all := refusals()
	maps.Copy(all, badUploads(ctx, t, c, db))
	wantObjects["uploads"] = 3 // of another tenant's, the empty and the large one
	for name, want := range all {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"Idempotency-Key", "again"}, want.header...)
			answer, err := c.Do(ctx, http.MethodPost, "/v1/jobs", []byte(want.body), header...)
			require.NoError(t, err)
			require.Equal(t, want.status, answer.Status, "%s", answer.Body)
			p, err := answer.Problem()
			require.NoError(t, err)
			require.Equal(t, "/problems/"+want.slug, p.Type)
			require.Equal(t, answer.Header.Get("X-Request-Id"), p.RequestID)
			pointers, said := []string(nil), p.Detail
			for _, f := range p.Errors {
				require.NotEmpty(t, f.Detail)
				pointers, said = append(pointers, f.Pointer), said+"\n"+f.Detail
			}
			require.Equal(t, want.pointer, pointers, "%s", answer.Body)
			require.Contains(t, said, want.says)
		})
	}
	require.Equal(t, wantRows, rows(ctx, t, db))
	require.Equal(t, wantObjects, objects(t, s))
	// The key that every refused request carried is still free, and nothing of
	// them waits on the bus before this one.
	requireSucceeded(t, perform(ctx, t, c, "again", line("Nothing stands in its way.")))
	require.Equal(t, wantRows["jobs"]+1, rows(ctx, t, db)["jobs"])
}

// badUploads makes uploads that no job may use.
func badUploads(ctx context.Context, t *testing.T, c *caller.Caller, db *pg.Pool) map[string]refusal {
	t.Helper()
	refused := func(id, says string) refusal {
		return refusal{body: `{"input":{"upload":"` + id + `"}}`, status: 422, slug: "invalid-request", pointer: []string{"/input/upload"}, says: says}
	}
	all := map[string]refusal{}
	never, err := c.NewUpload(ctx, job.MediaText)
	require.NoError(t, err)
	all["an upload that was never finished"] = refused(never.ID, "never finished")

	empty, err := c.Upload(ctx, job.MediaText, nil)
	require.NoError(t, err)
	all["an empty upload"] = refused(empty, "is empty")

	large, err := c.Upload(ctx, job.MediaText, bytes.Repeat([]byte("word "), uploadBytes/5+1))
	require.NoError(t, err)
	r := refused(large, "at most")
	r.status, r.slug = 413, "upload-too-large"
	all["an upload over the limit"] = r

	theirs, err := c.Upload(ctx, job.MediaText, []byte("A secret of others."), "Authorization", "Bearer "+otherTenant(ctx, t, db))
	require.NoError(t, err)
	all["an upload of another tenant"] = refused(theirs, "not known")
	return all
}

// otherTenant makes a tenant and returns a key of it.
func otherTenant(ctx context.Context, t *testing.T, db *pg.Pool) string {
	t.Helper()
	const secret = "vm_abcdefghijklmnopqrstuvwxyz"
	require.NoError(t, pg.EnsureTenant(ctx, db, "other"))
	hash := sha256.Sum256([]byte(secret))
	_, err := db.Exec(ctx, "insert into api_keys (id, tenant_id, hash, scopes) values ('key_other', 'other', $1, '{jobs:write,jobs:read}')", hash[:])
	require.NoError(t, err)
	return secret
}

// document is an upload and what must become of it: words that are spoken, or
// a fault that is named.
type document struct {
	media string
	data  []byte
	words string
	kind  string
	says  string
}

// altered returns the files of a book after change.
func altered(t *testing.T, change func(map[string]*string) []epub.File) []byte {
	t.Helper()
	files := epub.Files("A Book", epub.Chapter{File: "one.xhtml", Title: "One", Body: "<h1>One</h1><p>Words are here.</p>"})
	byName := map[string]*string{}
	for i := range files {
		byName[files[i].Name] = &files[i].Body
	}
	extra := change(byName)
	var kept []epub.File
	for _, f := range files {
		if byName[f.Name] != nil {
			kept = append(kept, f)
		}
	}
	data, err := epub.Zip(append(kept, extra...))
	require.NoError(t, err)
	return data
}

const chapterFile = "EPUB/one.xhtml"

func documents(t *testing.T) map[string]document {
	t.Helper()
	book := func(change func(map[string]*string) []epub.File) []byte { return altered(t, change) }
	body := func(text string) []byte {
		return book(func(f map[string]*string) []epub.File { *f[chapterFile] = text; return nil })
	}
	without := func(name string) []byte {
		return book(func(f map[string]*string) []epub.File { delete(f, name); return nil })
	}
	failing := func(data []byte, says string) document {
		return document{media: job.MediaEPUB, data: data, kind: "invalid", says: says}
	}
	bomb := failing(body(epub.Page("", "<p>Words.</p>"+strings.Repeat(" ", 30<<20))), "ZIP bomb")
	bomb.kind = "too_large"
	whole := book(func(map[string]*string) []epub.File { return nil })
	return map[string]document{
		"an EPUB that is no ZIP":          failing([]byte("This is a letter."), "no readable ZIP"),
		"an EPUB that was cut off":        failing(whole[:len(whole)-40], "no readable ZIP"),
		"an EPUB with a damaged file":     failing(damaged(t, whole), "damaged"),
		"an EPUB without a container":     failing(without(epub.Container), "container"),
		"an EPUB without an OPF":          failing(without(epub.Package), epub.Package),
		"an EPUB with an OPF of nonsense": failing(book(func(f map[string]*string) []epub.File { *f[epub.Package] = "<<<"; return nil }), ""),
		"an EPUB with DRM": failing(book(func(map[string]*string) []epub.File {
			return []epub.File{{Name: "META-INF/encryption.xml", Body: `<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
<CipherData><CipherReference URI="` + chapterFile + `"/></CipherData></EncryptedData></encryption>`}}
		}), "DRM"),
		"an EPUB that is a ZIP bomb":   bomb,
		"an EPUB that lacks a chapter": failing(without(chapterFile), chapterFile),
		"an EPUB without an item to speak": failing(book(func(f map[string]*string) []epub.File {
			*f[epub.Package] = strings.ReplaceAll(*f[epub.Package], `idref="c0"`, `idref="c7"`)
			return nil
		}), "reading order"),
		"an EPUB without text": failing(body(epub.Page("<title>One</title>", `<p> </p><hr/>`)), "no text"),
		"HTML without text":    {media: job.MediaHTML, data: []byte("<html><head><title>x</title></head><body></body></html>"), kind: "invalid", says: "no text"},
		"a title that is never closed": {
			media: job.MediaEPUB, data: body(epub.Page("<title/>", "<h1>One</h1><p>Nothing is swallowed.</p>")), words: "One Nothing is swallowed.",
		},
		"XHTML with crossed tags": {
			media: job.MediaEPUB, data: body(epub.Page("", "<h1>One</h1><p>All <b>the <i>words</b> are</i> here & there<p>and here < too.")),
			words: "One All the words are here & there and here < too.",
		},
		"XHTML with a script that is never closed": {
			media: job.MediaEPUB, data: body(epub.Page(`<script src="x.js"/>`, "<h1>One</h1><p>Still here.</p>")), words: "One Still here.",
		},
	}
}

// damaged returns the archive with one bit of the chapter's content turned.
func damaged(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	for _, f := range z.File {
		if f.Name == chapterFile {
			at, err := f.DataOffset()
			require.NoError(t, err)
			data = bytes.Clone(data)
			data[at+int64(f.CompressedSize64)/2] ^= 1 //nolint:gosec // small
			return data
		}
	}
	require.Fail(t, "no chapter")
	return nil
}

func TestADocumentIsSpokenWholeOrItsJobFailsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)
	all := documents(t)
	segments := 0
	t.Run("documents", func(t *testing.T) {
		for name, d := range all {
			t.Run(name, func(t *testing.T) {
				upload, err := c.Upload(ctx, d.media, d.data)
				require.NoError(t, err)
				got := perform(ctx, t, c, "", map[string]any{"input": map[string]any{"upload": upload}})
				if d.kind == "" {
					requireSucceeded(t, got)
					listed, err := c.Segments(ctx, string(got.ID))
					require.NoError(t, err)
					var words []string
					for _, g := range listed {
						words = append(words, g.Text)
					}
					require.Equal(t, d.words, strings.Join(words, " "))
					segments += len(listed)
					return
				}
				require.Equal(t, job.StateFailed, got.State)
				require.NotNil(t, got.Error)
				require.Equal(t, d.kind, got.Error.Kind, got.Error.Detail)
				require.Contains(t, got.Error.Detail, d.says)
				require.Empty(t, got.Artifacts)
				require.Empty(t, got.Chapters)
			})
		}
	})
	if t.Failed() {
		return
	}
	spoken := 0
	for _, d := range all {
		if d.kind == "" {
			spoken++
		}
	}
	db := open(ctx, t, s)
	got := rows(ctx, t, db)
	require.Less(t, got["renditions"], segments+1)
	got["renditions"] = 0
	require.Equal(t, map[string]int{
		"jobs": len(all), "chapters": spoken, "segments": segments, "renditions": 0, "artifacts": 2 * spoken,
		"outbox": 0, "deliveries": 0, "cancellations": 0, "idempotency_keys": 0,
	}, got)
	stored := objects(t, s)
	require.Equal(t, len(all), stored["uploads"])
	require.Equal(t, 2*spoken, stored["jobs"])
}
