package manuscript_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// requireSound reads a document and checks what holds for every document: it
// has text within the cap, in order and traced to the source, or a named fault.
func requireSound(t *testing.T, raw []byte, mediaType string, size int) {
	t.Helper()
	const limit = 18
	limits := manuscript.Limits{DocumentBytes: 1 << 20, TotalBytes: 4 << 20}
	err := readError(t, raw, mediaType, manuscript.Options{Limits: limits})
	if err != nil {
		var fault *job.Error
		require.ErrorAs(t, err, &fault)
		require.True(t, errors.Is(err, fault) && fault.Public != "")
		return
	}
	doc, err := open(t, raw, mediaType, manuscript.Options{Limits: limits, Cover: true})
	require.NoError(t, err)
	spec := job.Spec{Output: job.Output{Metadata: &doc.About}}
	for _, fault := range spec.Faults(job.DefaultLimits()).List {
		require.NotContains(t, fault.Pointer, "/output/metadata", "what a document says is what a request may say")
	}
	ends := map[string]int64{}
	for c, err := range doc.Chapters() {
		require.NoError(t, err)
		require.NotEmpty(t, c.Segments)
		for _, s := range c.Segments {
			require.NotEmpty(t, strings.TrimSpace(s.Text))
			require.LessOrEqual(t, s.Seconds, limit+1e-9)
			require.GreaterOrEqual(t, s.Source.Start, int64(0))
			require.LessOrEqual(t, s.Source.Start, s.Source.End)
			if size > 0 {
				require.LessOrEqual(t, s.Source.End, int64(size))
			}
			require.GreaterOrEqual(t, s.Source.End, ends[s.Source.Document])
			ends[s.Source.Document] = s.Source.End
			last := 0
			for _, p := range s.Pronunciations {
				require.GreaterOrEqual(t, p.Start, last)
				require.Less(t, p.Start, p.End)
				require.LessOrEqual(t, p.End, len(s.Text))
				last = p.End
			}
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	f.Add(small(f, "<p>Hello.</p>"))
	f.Add(epub(f, opf([]string{"nav nav.xhtml nav", "a a.xhtml", "ncx toc.ncx"}, "a -nav", `<reference type="text" href="a.xhtml"/>`),
		nav(toc("a.xhtml#x", "A")), file{"OPS/a.xhtml", xhtml(`<p id="x">x</p>`)}, file{"OPS/toc.ncx", "<ncx/>"}))
	f.Fuzz(func(t *testing.T, raw []byte) { requireSound(t, raw, manuscript.TypeEPUB, 0) })
}

func FuzzPackage(f *testing.F) {
	f.Add(opf([]string{"c c.xhtml", "d d.xhtml"}, "c -d", "").content, toc("c.xhtml#a", "A"))
	f.Add(`<package><manifest><item id="c" href="c.xhtml" fallback="c" media-type="x"/></manifest><spine><itemref idref="c"/></spine></package>`, "<nav")
	f.Add(`<package><spine><itemref idref="`, `<nav epub:type="toc"><a href="%zz#%">`)
	f.Add(describedBy(describing).content, "")
	f.Add(describedBy(`<date>99999-</date><meta name="calibre:series" content="x"/><meta name="calibre:series_index" content="NaN"/><description>&lt;p&#x85;</description>`).content, "")
	f.Fuzz(func(t *testing.T, opf, navigation string) {
		raw := epub(t, file{"OPS/book.opf", opf}, nav(navigation), file{"OPS/c.xhtml", xhtml(`<p id="a">c</p>`)}, file{"OPS/d.xhtml", xhtml("<p>d</p>")},
			file{"OPS/toc.ncx", navigation}, file{"META-INF/encryption.xml", "<encryption/>"})
		requireSound(t, raw, manuscript.TypeEPUB, 0)
	})
}

func FuzzMarkup(f *testing.F) {
	for _, s := range []string{
		tracedPage, "<title/><p>x", "<p>a<b><i></b></i>", "<table><td>a<tr><table>b</table>c", `<a href="#x">[1]</a>`, `[<a href="#x">1</a>]`, `<sup>[<a href="#n">1</a>, <a href="#m">2</a>]</sup>`,
		"<!DOCTYPE x [<!ENTITY a \"b\">]>&a;", "<![CDATA[a]]>", "<p>e&#x301;</p>", `<div class="stanza">a<div>b</div></div>`, "<pre>a\n\nb", `<p ssml:ph="x">a<b ssml:ph="y">b</b></p>`,
		"<nav>a</nav>b", "<ruby>a<rt>b</ruby>c", "\xff\xfea\x00", "<?xml version='1.0' encoding='shift_jis'?>\x93\xfa", "<br><br>a<br>", "<math alttext='x'>y</math>", `<span lang="fr">a</span>b`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { requireSound(t, []byte(s), manuscript.TypeXHTML, len(s)) })
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{tracedMarkdown, "---\ntitle: x", "[^1]\n\n[^1]: a", "<div>\n*a*\n\n</p>", "- > - a\n  b", "| a\n|-\n| b", "<http://a>", "`a\nb`", "a\\\nb  \nc", "\ufeff# x", "\t- \ta", "<b", "Term\n: a\n\n  b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { requireSound(t, []byte(s), manuscript.TypeMarkdown, len(s)) })
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{wrapped + wrapped, "CHAPTER I\n\nx", "_a_*b*", "a-\nb", "\ufeffa\r\r\nb", "日本\n語", "a\n\n\n\nII.\n\nb", "*** START OF THE PROJECT GUTENBERG EBOOK X ***\nx\n*** END OF THE PROJECT GUTENBERG EBOOK"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { requireSound(t, []byte(s), manuscript.TypePlain, len(s)) })
}

func FuzzLexicon(f *testing.F) {
	f.Add("<lexicon><lexeme><grapheme>a b</grapheme><phoneme>x</phoneme></lexeme></lexicon>", "a b a")
	f.Add("<lexicon xml:lang='de'><lexeme><grapheme>.</grapheme><alias>x</alias></lexeme>", "a.")
	f.Fuzz(func(t *testing.T, lexicon, text string) {
		page := `<html><head><link rel="pronunciation" href="l.pls"/></head><body><p>` + text + "</p></body></html>"
		raw := epub(t, opf([]string{"c c.xhtml"}, "c", ""), file{"OPS/c.xhtml", page}, file{"OPS/l.pls", lexicon})
		requireSound(t, raw, manuscript.TypeEPUB, 0)
	})
}
