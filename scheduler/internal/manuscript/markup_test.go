package manuscript_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

func TestMarkupSpeaksTheReadingText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"white space is folded":                           {"<p>One\n\t two&nbsp;&#32;three</p>", []string{"One two three"}},
		"entities are resolved":                           {"<p>Caf&eacute; &amp; Br&#252;cke &#x2014; x &lt; y</p>", []string{"Café & Brücke — x < y"}},
		"an unknown entity stays as written":              {"<p>AT&T and &bogus; too</p>", []string{"AT&T and &bogus; too"}},
		"letters and marks are composed":                  {"<p>Cafe\u0301 e&#x301;te\u0301</p>", []string{"Café été"}},
		"soft hyphens and zero widths vanish":             {"<p>hy\u00adphen&shy;ate zero\u200bwidth</p>", []string{"hyphenate zerowidth"}},
		"a character section is text":                     {"<p>one <![CDATA[<two> & three]]> four</p>", []string{"one <two> & three four"}},
		"comments and instructions are not text":          {"<p>one <!-- no --><?php no ?>two</p>", []string{"one two"}},
		"an empty title does not swallow the chapter":     {"<title/><p>Here.</p>", []string{"Here."}},
		"an empty script does not swallow the chapter":    {`<script src="a.js"/><p>Here.</p>`, []string{"Here."}},
		"empty raw text elements swallow nothing":         {"<style/><textarea/><iframe/><xmp/><noscript/><p>Here.</p>", []string{"Here."}},
		"scripts and styles are not spoken":               {"<script>no()</script><style>no{}</style><p>Yes.</p>", []string{"Yes."}},
		"misnested tags lose no text":                     {"<p>a <b>b <i>c</b> d</i> e</p><p>f</p>", []string{"a b c d e", "f"}},
		"an inline end tag does not close the paragraph":  {"<b><p>one</b> two</p><p>three</p>", []string{"one two", "three"}},
		"an unclosed paragraph ends at the next":          {"<p>one<p>two<div>three</div>four", []string{"one", "two", "three", "four"}},
		"unclosed list items end at the next":             {"<ul><li>one<li>two</ul>three", []string{"one", "two", "three"}},
		"stray end tags do nothing":                       {"</b></p>one</div> two</span>", []string{"one two"}},
		"an empty element does not hide what follows":     {`<p>one<a id="x" epub:type="noteref"/> two<span hidden="hidden"/> three</p>`, []string{"one two three"}},
		"a prefix on the tags makes no difference":        {`<h:p xmlns:h="http://www.w3.org/1999/xhtml">one<h:br/>two</h:p>`, []string{"one two"}},
		"declared note marks are not spoken":              {`<p>word<a epub:type="noteref" href="#n1">1</a>, next<a role="doc-noteref" href="n.xhtml#n2">[b]</a>.</p>`, []string{"word, next."}},
		"annotated words are spoken":                      {`<p>a <a epub:type="noteref" href="#n1">warrior</a> brave</p>`, []string{"a warrior brave"}},
		"links in superscript are note marks":             {`<p>word<sup><a href="#n1">1</a></sup> and<a href="#n2"><sup>2</sup></a> so<sup>[<a href="#n3">3</a>, <a href="#n4">4</a>]</sup>.</p>`, []string{"word and so."}},
		"links with brackets or daggers are note marks":   {`<p>word<a href="#n1">[1]</a> and<a href="#n2">†</a> [<a href="#n3">3</a>] so.</p>`, []string{"word and so."}},
		"a note loses its mark and its way back":          {`<p>[<a href="#r1">1</a>] The note. <a href="#r1">↩</a></p>`, []string{"The note."}},
		"declared ways back are not spoken":               {`<aside epub:type="footnote"><p>The note. <a role="doc-backlink" href="#r1">Return</a></p></aside>`, []string{"The note."}},
		"powers and ordinals are spoken":                  {"<p>10<sup>2</sup> is the 2<sup>nd</sup></p>", []string{"102 is the 2nd"}},
		"ordinary links are spoken":                       {`<p>see <a href="#p12">12</a> and <a href="#x">there</a></p>`, []string{"see 12 and there"}},
		"ruby speaks the base alone":                      {"<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>です。</p>", []string{"漢字です。"}},
		"page numbers are not spoken":                     {`<p>one <span epub:type="pagebreak" id="p2">2</span>two<span role="doc-pagebreak">3</span></p>`, []string{"one two"}},
		"numbers of lines of verse are not spoken":        {`<div class="linegroup"><div>one<span class="lnum">10</span></div><div>two</div></div>`, []string{"one two"}},
		"hidden elements are not spoken":                  {`<p hidden="hidden">a</p><p>b<span style="display: none">c</span><span aria-hidden="true">d</span></p>`, []string{"b"}},
		"navigation is not spoken":                        {`<nav epub:type="toc"><h2>Contents</h2><ol><li>One</li></ol></nav><p>Text.</p>`, []string{"Text."}},
		"a break is a space and no end":                   {"<p>roses are red<br/>violets blue</p>", []string{"roses are red violets blue"}},
		"two breaks end a paragraph":                      {"<p>one<br/><br/>two</p>", []string{"one", "two"}},
		"lines of a stanza are one passage":               {`<div class="stanza"><p>one</p><p>two</p></div><p>three</p>`, []string{"one two", "three"}},
		"preformatted lines are lines":                    {"<pre>one\ntwo\n\nthree</pre>", []string{"one two", "three"}},
		"a table is read row by row":                      {"<table><caption>C</caption><tr><th>a</th><th>b</th></tr><tr><td>c.</td><td>d</td></tr></table>", []string{"C", "a, b", "c. d"}},
		"paragraphs in a cell stay apart":                 {"<table><tr><td><p>a</p><p>b</p></td><td>c</td></tr></table>", []string{"a", "b, c"}},
		"unclosed cells and rows are rows":                {"<table><tr><td>a<td>b<tr><td>c</table>", []string{"a, b", "c"}},
		"a table in a cell ends with its cell":            {"<table><tr><td>a<table><tr><td>b</td></tr></table>c</td></tr></table>", []string{"a", "b", "c"}},
		"pictures are silent":                             {`<p>one <img src="a.png" alt="A cat"/>two</p>`, []string{"one two"}},
		"a drawn initial is a letter":                     {`<p><img src="w.png" alt="W"/>hen it</p>`, []string{"When it"}},
		"a picture of text is text":                       {`<p>one <img role="text" alt="two"/> three</p>`, []string{"one two three"}},
		"mathematics has its words":                       {`<p>If <math alttext="x squared"><msup><mi>x</mi><mn>2</mn></msup></math> is</p>`, []string{"If x squared is"}},
		"drawings are silent":                             {`<svg><title>no</title><text>no</text></svg><p>yes</p>`, []string{"yes"}},
		"an ornament is no passage":                       {"<p>one</p><p>* * *</p><hr/><p>—</p><p>two</p>", []string{"one", "two"}},
		"a definition list is read in order":              {"<dl><dt>Term<dd>Meaning<dt>Other<dd>Sense</dl>", []string{"Term", "Meaning", "Other", "Sense"}},
		"wrapped lines of Japanese join":                  {"<p>日本\n語です。 はい</p>", []string{"日本語です。 はい"}},
		"words around an element stay whole":              {"<p>un<b>believ</b>able <i>T</i>here</p>", []string{"unbelievable There"}},
		"broken bytes and private characters are dropped": {"<p>fa\xffhr \ue000x</p>", []string{"fahr x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := "<html><body>" + c.body + "</body></html>"
			_, chapters := read(t, []byte(page), manuscript.TypeHTML)
			if diff := cmp.Diff(c.want, texts(chapters)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
			requireTracedInside(t, page, chapters)
		})
	}
}

// requireTracedInside checks the ranges alone: some of these pages drop words
// between those that are spoken.
func requireTracedInside(t *testing.T, page string, chapters []*manuscript.Chapter) {
	t.Helper()
	var end int64
	for _, c := range chapters {
		for _, s := range c.Segments {
			require.GreaterOrEqual(t, s.Source.Start, end)
			require.Less(t, s.Source.Start, s.Source.End)
			require.LessOrEqual(t, s.Source.End, int64(len(page)))
			end = s.Source.End
		}
	}
}

func TestEntitiesOfTheDocumentAreResolvedOnce(t *testing.T) {
	t.Parallel()
	page := `<?xml version="1.0"?><!DOCTYPE html [<!ENTITY house "Usher &amp; Co"><!ENTITY a "&b;&b;"><!ENTITY b "&a;&a;">]><html><body><p>The &house; fell &a;</p></body></html>`
	_, chapters := read(t, []byte(page), manuscript.TypeXHTML)
	require.Equal(t, []string{"The Usher & Co fell &b;&b;"}, texts(chapters))
}

func TestNestingWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	err := readError(t, []byte(strings.Repeat("<div>", 2000)+"text"), manuscript.TypeHTML, manuscript.Options{})
	requireFault(t, err, "nests its elements")
}

func TestLanguageOfPassagesIsKept(t *testing.T) {
	t.Parallel()
	page := `<html lang="en-GB"><body><p>Hello <i lang="fr">monde</i> again.</p><p lang="de">Guten Tag.</p><p lang="en">Bye.</p>
<p>` + strings.Repeat("A sentence that makes the passage long enough to be cut. ", 4) + `<span lang="la">Gallia est omnis divisa in partes tres.</span></p></body></html>`
	doc, chapters := read(t, []byte(page), manuscript.TypeHTML)
	require.Equal(t, "en-GB", doc.Language)
	got := map[string]string{}
	for _, s := range chapters[0].Segments {
		got[s.Text] = s.Language
	}
	require.Empty(t, got["Hello monde again."])
	require.Equal(t, "de", got["Guten Tag."])
	require.Empty(t, got["Bye."])
	require.Equal(t, "la", got["Gallia est omnis divisa in partes tres."])
}

func TestRequestedLanguageStandsForTheDocuments(t *testing.T) {
	t.Parallel()
	doc, err := open(t, []byte(`<html lang="en-US"><body><p lang="en-US">Hi.</p><p lang="fr">Oui.</p></body></html>`), manuscript.TypeHTML, manuscript.Options{Language: "en-GB"})
	require.NoError(t, err)
	require.Equal(t, "en-GB", doc.Language)
	for c, err := range doc.Chapters() {
		require.NoError(t, err)
		require.Empty(t, c.Segments[0].Language)
		require.Equal(t, "fr", c.Segments[1].Language)
	}
}

func TestHeadOfAPageIsRead(t *testing.T) {
	t.Parallel()
	doc, chapters := read(t, []byte(`<html xml:lang="sv"><head><title> A
 title </title><meta name="author" content="Me"></head><body>Hej.</body></html>`), manuscript.TypeHTML)
	require.Equal(t, []string{"A title", "Me", "sv"}, []string{doc.About.Title, doc.About.Author, doc.Language})
	require.Equal(t, []string{"Hej."}, texts(chapters))
}

func TestHeadingsBeginChaptersOfAPage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"the highest level used twice":       {"<h1>T</h1><p>x</p><h2>A</h2><p>x</p><h3>a</h3><p>x</p><h2>B</h2><p>x</p>", "body: T|body: A|body: B"},
		"parts and the chapters in them":     {"<h1>Part One</h1><h2>A</h2><p>x</p><h2>B</h2><p>x</p><h1>Part Two</h1><h2>C</h2><p>x</p>", "body: Part One|body: A|body: B|body: Part Two|body: C"},
		"a number and a name are one":        {"<h2>Chapter I</h2><h2>The Start</h2><p>x</p><h2>Chapter II</h2><p>x</p>", "body: Chapter I. The Start|body: Chapter II"},
		"no heading is one chapter":          {"<p>x</p><p>y</p>", "body: "},
		"titles tell front and back matter":  {"<h2>Preface</h2><p>x</p><h2>One</h2><p>x</p><h2>Index</h2><p>x</p>", "front: Preface|body: One|back: Index"},
		"divisions split chapters and count": {`<section epub:type="frontmatter"><p>x</p></section><section epub:type="bodymatter"><p>y</p></section>`, "front: |body: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, []byte(c.body), manuscript.TypeHTML)
			require.Equal(t, strings.Split(c.want, "|"), outline(chapters))
			for _, ch := range chapters {
				last := ch.Segments[len(ch.Segments)-1]
				require.Equal(t, manuscript.BreakChapter, last.Break)
			}
		})
	}
}
