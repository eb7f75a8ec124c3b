package readalong_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/readalong"
)

// body returns what is in the body of the annotated document.
func body(tb testing.TB, files map[string]string) string {
	tb.Helper()
	_, rest, ok := strings.Cut(files["OPS/one.xhtml"], "<body>")
	require.True(tb, ok)
	in, _, _ := strings.Cut(rest, "</body>")
	return in
}

// clips returns the clips of the overlay: id, begin and end.
func clips(tb testing.TB, files map[string]string) (all []string) {
	tb.Helper()
	for line := range strings.SplitSeq(files["OPS/read-along/overlay-001.smil"], "\n") {
		var n int
		var text, audio, begin, end string
		if k, _ := fmt.Sscanf(line, `<par id="p%d"><text src=%q/><audio src=%q clipBegin=%q clipEnd=%q/></par>`, &n, &text, &audio, &begin, &end); k == 5 {
			require.Equal(tb, "chapter-001.m4a", audio)
			all = append(all, strings.TrimPrefix(text, "../one.xhtml#")+" "+begin+" "+end)
		}
	}
	return all
}

func TestSentencesOfTheDocumentLightUp(t *testing.T) {
	t.Parallel()
	type in struct {
		from, to  string
		sentences []string
	}
	for name, c := range map[string]struct {
		page  string
		in    []in
		body  string
		clips []string
		count readalong.Counts
	}{
		"two in a paragraph": {
			`<p>“One  two.” Three &amp; four!</p>`,
			[]in{{"“One", "four!", []string{"“One two.”", "Three & four!"}}},
			`<p><span id="vm-1">“One  two.”</span> <span id="vm-2">Three &amp; four!</span></p>`,
			[]string{"vm-1 0.000s 1.250s", "vm-2 1.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"a paragraph of one keeps its id": {
			`<p id="p7"> One two. </p><h1 class="x">Three</h1>`,
			[]in{{"One", "two.", []string{"One two."}}, {"Three", "Three", []string{"Three"}}},
			`<p id="p7"> One two. </p><h1 id="vm-1" class="x">Three</h1>`,
			[]string{"p7 0.000s 2.250s", "vm-1 2.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"across the border of an element": {
			`<p>He said <em>stop. Then</em> he left.</p>`,
			[]in{{"He said", "left.", []string{"He said stop.", "Then he left."}}},
			`<p><span id="vm-1">He said</span> <em><span id="vm-2">stop.</span> <span id="vm-3">Then</span></em> <span id="vm-4">he left.</span></p>`,
			[]string{"vm-1 0.000s 0.450s", "vm-2 0.450s 1.250s", "vm-3 1.250s 1.350s", "vm-4 1.350s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"an element at the edge goes along": {
			`<p><b>One</b> two. Three <i>four</i>.</p>`,
			[]in{{"One", "</i>.", []string{"One two.", "Three four."}}},
			`<p><span id="vm-1"><b>One</b> two.</span> <span id="vm-2">Three <i>four</i>.</span></p>`,
			[]string{"vm-1 0.000s 1.250s", "vm-2 1.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"what is not spoken is passed over": {
			`<p>One<sup><a epub:type="noteref" href="#n">17</a></sup> two.<span epub:type="pagebreak" title="3">333</span> <ruby>漢<rt>かん</rt></ruby>字。</p>`,
			[]in{{"One", "字。", []string{"One two.", "漢字。"}}},
			`<p><span id="vm-1">One<sup><a epub:type="noteref" href="#n">17</a></sup> two.</span><span epub:type="pagebreak" title="3">333</span> <span id="vm-2"><ruby>漢<rt>かん</rt></ruby>字。</span></p>`,
			[]string{"vm-1 0.000s 1.250s", "vm-2 1.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"a drawn initial": {
			`<p><img alt="W" src="w.png"/>hen one.</p>`,
			[]in{{"<img", "one.", []string{"When one."}}},
			`<p id="vm-1"><img alt="W" src="w.png"/>hen one.</p>`,
			[]string{"vm-1 0.000s 9.000s"},
			readalong.Counts{Sentences: 1},
		},
		"decomposed letters": {
			"<p>Cafe\u0301 one. Two.</p>",
			[]in{{"Caf", "Two.", []string{"Café one.", "Two."}}},
			"<p><span id=\"vm-1\">Cafe\u0301 one.</span> <span id=\"vm-2\">Two.</span></p>",
			[]string{"vm-1 0.000s 1.250s", "vm-2 1.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
		"what cannot be found has its paragraph": {
			`<p>Something else. Two.</p>`,
			[]in{{"Something", "Two.", []string{"Привет.", "Two."}}},
			`<p id="vm-1">Something else. <span id="vm-2">Two.</span></p>`,
			nil,
			readalong.Counts{Sentences: 2, Elements: 1},
		},
		"cells of a row": {
			`<table><tr><td>One</td><td>two.</td></tr></table>`,
			[]in{{"One", "two.", []string{"One, two."}}},
			`<table><tr><td id="vm-1">One</td><td id="vm-2">two.</td></tr></table>`,
			[]string{"vm-1 0.000s 0.350s", "vm-2 0.350s 9.000s"},
			readalong.Counts{Sentences: 1},
		},
		"an id of ours is there": {
			`<p>One. Two.</p><p id="vm-1">x</p>`,
			[]in{{"One", "Two.", []string{"One.", "Two."}}},
			`<p><span id="vm-x1">One.</span> <span id="vm-x2">Two.</span></p><p id="vm-1">x</p>`,
			[]string{"vm-x1 0.000s 1.250s", "vm-x2 1.250s 9.000s"},
			readalong.Counts{Sentences: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := pageOf(c.page)
			var segments []readalong.Segment
			for i, one := range c.in {
				segments = append(segments, segment(t, page, one.from, one.to, int64(250+2000*i), one.sentences...))
			}
			files, count := annotate(t, simple(t, page), 9000, segments...)
			require.Equal(t, c.count, count)
			require.Equal(t, c.body, body(t, files))
			if c.clips != nil {
				require.Equal(t, c.clips, clips(t, files))
			}
		})
	}
}

func TestAnAnnotatedEPUBIsTheSameBook(t *testing.T) {
	t.Parallel()
	page := pageOf(`<h1>One</h1><p>Hello there. Once more.</p>`)
	old := map[string]string{
		"OPS/package.opf": fmt.Sprintf(opf, `<meta property="media:duration">1s</meta><meta property="media:active-class">old</meta>`, `media-overlay="old" `,
			`<item id="old" href="old.smil" media-type="application/smil+xml"/><item id="mp3" href="old.mp3" media-type="audio/mpeg"/>`),
		"OPS/nav.xhtml": nav, "OPS/one.xhtml": page, "OPS/old.smil": "<smil/>", "OPS/old.mp3": "x", "META-INF/signatures.xml": "<x/>",
	}
	source := epub(t, old)
	segments := []readalong.Segment{
		segment(t, page, "One", "One", 0, "One"), segment(t, page, "Hello", "more.", 1000, "Hello there.", "Once more."),
	}
	var first []byte
	for range 2 {
		var out bytes.Buffer
		b, err := readalong.Annotate(&out, meta, bytes.NewReader(source), int64(len(source)))
		require.NoError(t, err)
		fill(t, b, 4000, segments...)
		if first == nil {
			first = out.Bytes()
		}
		require.Equal(t, first, out.Bytes(), "equal input, equal bytes")
	}
	check(t, first)
	files := unpack(t, first)
	require.Equal(t, nav, files["OPS/nav.xhtml"])
	require.Equal(t, "not really sound", files["OPS/read-along/chapter-001.m4a"])
	require.NotContains(t, files, "OPS/old.smil")
	require.NotContains(t, files, "META-INF/signatures.xml")
	require.Equal(t, strings.Replace(page, "</head>", `<link rel="stylesheet" type="text/css" href="read-along/read-along.css"/></head>`, 1),
		strings.NewReplacer(` id="vm-1"`, "", `<span id="vm-2">`, "", `<span id="vm-3">`, "", "</span>", "").Replace(files["OPS/one.xhtml"]))
	p := files["OPS/package.opf"]
	for _, want := range []string{
		`<meta property="media:duration">4.000s</meta>`, `<meta property="media:duration" refines="#vm-o1">4.000s</meta>`, `N &lt;1&gt;`, "Spoken by a synthetic voice.",
		`<item media-overlay="vm-o1" id="one" href="one.xhtml"`, `href="read-along/overlay-001.smil" media-type="application/smil+xml"`, `-epub-media-overlay-active`,
	} {
		require.Contains(t, p, want)
	}
	require.NotContains(t, p, "old.smil")
	require.NotContains(t, p, `media-overlay="old"`)
	require.Equal(t, []string{"vm-1 0.000s 1.000s", "vm-2 1.000s 2.000s", "vm-3 2.000s 4.000s"}, clips(t, files))
}

// A document that is one text in one element is no reason to look at all of it for each sentence.
func TestALongTextInOneElementIsReadOnce(t *testing.T) {
	t.Parallel()
	const sentences = 20_000
	page := pageOf("<p><span>" + strings.Repeat("One two. ", sentences) + "</span></p>")
	start := strings.Index(page, "One")
	var segments []readalong.Segment
	for i := range sentences {
		segments = append(segments, readalong.Segment{
			Document: "OPS/one.xhtml", Start: start + 9*i, End: start + 9*i + 8, Text: "One two.", Sentences: []readalong.Stretch{{At: 0, Millis: int64(i) * 1000}},
		})
	}
	files, count := annotate(t, simple(t, page), sentences*1000, segments...)
	require.Equal(t, readalong.Counts{Sentences: sentences}, count)
	require.Contains(t, files["OPS/read-along/overlay-001.smil"], `#vm-20000"/><audio src="chapter-001.m4a" clipBegin="19999.000s" clipEnd="20000.000s"/>`)
}

func TestAnEPUBThatCannotBeAnnotatedSaysWhy(t *testing.T) {
	t.Parallel()
	good := fmt.Sprintf(opf, "", "", "")
	for name, source := range map[string][]byte{
		"It is no readable ZIP archive.":                 []byte("PK"),
		"It is not of version 3.":                        epub(t, map[string]string{"OPS/package.opf": strings.Replace(good, `version="3.0"`, `version="2.0"`, 1)}),
		`It lacks the file "OPS/package.opf".`:           epub(t, nil),
		"Its package document is not readable.":          epub(t, map[string]string{"OPS/package.opf": "<package/>"}),
		`Its file "OPS/package.opf" is not well-formed.`: epub(t, map[string]string{"OPS/package.opf": "<package>"}),
		`Its file "OPS/package.opf" is too large.`:       epub(t, map[string]string{"OPS/package.opf": strings.Repeat(" ", 9<<20)}),
	} {
		_, err := readalong.Annotate(&bytes.Buffer{}, meta, bytes.NewReader(source), int64(len(source)))
		require.ErrorIs(t, err, readalong.ErrUnfit)
		require.EqualError(t, err, name)
	}
}

func TestADocumentThatCannotBeReadStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, page := range []string{pageOf(`<p>One.</div>`), pageOf("<p>One.\xff</p>"), strings.Replace(pageOf("<p>One.</p>"), "UTF-8", "ISO-8859-1", 1)} {
		source := simple(t, page)
		var out bytes.Buffer
		b, err := readalong.Annotate(&out, meta, bytes.NewReader(source), int64(len(source)))
		require.NoError(t, err)
		c := readalong.Chapter{Audio: "chapter-001.m4a", Media: "audio/mp4", Millis: 1000}
		require.NoError(t, b.Begin(c))
		require.NoError(t, b.Add(segment(t, page, "One", ".", 0, "One.")))
		require.NoError(t, b.Close())
		require.Equal(t, readalong.Counts{Sentences: 1, Unplaced: 1}, b.Counts())
		require.Contains(t, out.String(), "one.xhtml")
	}
}

// charsOf returns the characters of a document; false if it is not well-formed.
func charsOf(page string) (string, bool) {
	var all strings.Builder
	for d := xml.NewDecoder(strings.NewReader(page)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String(), true
		}
		if err != nil {
			return "", false
		}
		if chars, ok := token.(xml.CharData); ok {
			all.Write(chars)
		}
	}
}

// FuzzAnnotate looks for a segment anywhere in any document: what comes out has the same text.
func FuzzAnnotate(f *testing.F) {
	f.Add(`<p>He said <em>stop. Then</em> he left.</p>`, "He said stop. Then he left.", 3, 40, 14)
	f.Add(`<p><ruby>漢<rt>かん</rt></ruby>字。</p>`, "漢字。", 3, 50, 0)
	f.Add(`<ul>x<li>a<div>b</div>c</li></ul>`, "x a b c", 4, 30, 2)
	f.Add(`<a>x<p>y</p>z</a><svg><text>q</text></svg>&amp;&#65;`, "x y z & A", 0, 60, 4)
	f.Add(`<!-- x --><p title="a>b"><![CDATA[one]]> two</p>`, "one two", 0, 50, 4)
	f.Add(`<p><b/><i></i>w<img alt="W"/></p>`, "wW", 0, 50, 1)
	f.Fuzz(func(t *testing.T, inner, text string, start, length, cut int) {
		page := pageOf(inner)
		source := simple(t, page)
		var out bytes.Buffer
		b, err := readalong.Annotate(&out, meta, bytes.NewReader(source), int64(len(source)))
		require.NoError(t, err)
		require.NoError(t, b.Begin(readalong.Chapter{Audio: "a.mp3", Media: "audio/mpeg", Millis: 5000}))
		at := strings.Index(page, "<body>") + len("<body>") + start
		s := readalong.Segment{Document: "OPS/one.xhtml", Start: at, End: at + length, Text: text, Sentences: []readalong.Stretch{{0, 0}}}
		if cut > 0 && cut < len(text) {
			s.Sentences = append(s.Sentences, readalong.Stretch{At: cut, Millis: 1000})
			s.Words = []readalong.Stretch{{0, 0}, {cut, 1000}}
		}
		require.NoError(t, b.Add(s))
		require.NoError(t, b.Close())
		before, ok := charsOf(page)
		if !ok {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
		require.NoError(t, err)
		r, err := z.Open("OPS/one.xhtml")
		require.NoError(t, err)
		annotated, err := io.ReadAll(r)
		require.NoError(t, err)
		after, ok := charsOf(string(annotated))
		require.True(t, ok, "%s", annotated)
		require.Equal(t, before, after)
	})
}

func FuzzAnnotateAnything(f *testing.F) {
	page := pageOf("<p>One.</p>")
	f.Add(simple(f, page))
	f.Add(epub(f, map[string]string{"OPS/package.opf": strings.Replace(fmt.Sprintf(opf, "", "", ""), "<package", `<!DOCTYPE p [<!ENTITY a "&a;&a;">]><package`, 1), "OPS/one.xhtml": page}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, source []byte) {
		b, err := readalong.Annotate(&bytes.Buffer{}, meta, bytes.NewReader(source), int64(len(source)))
		if err != nil {
			return
		}
		require.NoError(t, b.Begin(readalong.Chapter{Audio: "a.mp3", Media: "audio/mpeg", Millis: 5000}))
		if b.Add(readalong.Segment{Document: "OPS/one.xhtml", Start: 10, End: len(page), Text: "One.", Sentences: []readalong.Stretch{{0, 0}}}) == nil {
			_ = b.Close() // what is damaged may say so
		}
	})
}
