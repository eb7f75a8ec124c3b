package manuscript_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// describing is what the package document of an EPUB 3 says of a book.
const describing = `<dc:date>2011-09-01</dc:date><dc:publisher> Some
 House </dc:publisher><dc:description>&lt;p&gt;One &lt;b&gt;bold&lt;/b&gt; line.&lt;/p&gt;&lt;p&gt;Two &amp;amp; more.&lt;/p&gt;</dc:description>
<meta property="belongs-to-collection" id="box">The Box</meta><meta refines="#box" property="collection-type">set</meta><meta refines="#box" property="group-position">9</meta>
<meta property="belongs-to-collection" id="s">The Mills</meta><meta refines="#s" property="collection-type">series</meta><meta refines="#s" property="group-position">2.5</meta>
<dc:creator id="trl">T. Ranslator</dc:creator><meta refines="#trl" property="role" scheme="marc:relators">trl</meta>`

// describedBy is a package document with these words in its metadata.
func describedBy(words string) file {
	return file{"OPS/book.opf", strings.Replace(opf([]string{"c c.xhtml"}, "c", "").content, "</metadata>", words+"</metadata>", 1)}
}

func TestABookSaysWhatItIs(t *testing.T) {
	t.Parallel()
	known := job.Metadata{Title: "The Book", Author: "A. Writer"}
	with := func(change func(*job.Metadata)) job.Metadata {
		m := known
		change(&m)
		return m
	}
	for name, c := range map[string]struct {
		words string
		want  job.Metadata
	}{
		"nothing": {"", known},
		"EPUB 3": {describing, with(func(m *job.Metadata) {
			m.Year, m.Publisher, m.Description, m.Series, m.SeriesIndex = 2011, "Some House", "One bold line.\nTwo & more.", "The Mills", 2.5
		})},
		"calibre": {`<meta name="calibre:series" content="The Mills"/><meta name="calibre:series_index" content="3.0"/>`, with(func(m *job.Metadata) {
			m.Series, m.SeriesIndex = "The Mills", 3
		})},
		"EPUB 2": {
			`<dc:date opf:event="creation">1999</dc:date><dc:date opf:event="publication">1860-04</dc:date><dc:creator opf:role="ill">I. Llustrator</dc:creator>`,
			with(func(m *job.Metadata) { m.Year = 1860 }),
		},
		"an author who drew, too": {
			`<dc:creator id="b"> B. Oth </dc:creator><meta refines="#b" property="role">aut</meta><meta refines="#b" property="role" scheme="marc:relators">ill</meta>` +
				`<dc:creator id="t">T. Wo</dc:creator><meta refines="#t" property="role">trl</meta><meta refines="#t" property="role">edt</meta>`,
			with(func(m *job.Metadata) { m.Author = "A. Writer, B. Oth" }),
		},
		"the year of no date":         {`<dc:date>0101-01-01T00:00:00+00:00</dc:date>`, known},
		"a collection of no kind":     {`<meta property="belongs-to-collection" id="s">S</meta><meta refines="#s" property="group-position">2.1.3</meta>`, with(func(m *job.Metadata) { m.Series = "S" })},
		"a set is no series":          {`<meta property="belongs-to-collection" id="s">S</meta><meta refines="#s" property="collection-type">set</meta>`, known},
		"a place without a series":    {`<meta name="calibre:series_index" content="3.0"/>`, known},
		"a place that is none":        {`<meta name="calibre:series" content="S"/><meta name="calibre:series_index" content="NaN"/>`, with(func(m *job.Metadata) { m.Series = "S" })},
		"a date that is none":         {`<dc:date>May</dc:date><dc:date>19</dc:date><dc:date>18180101</dc:date>`, known},
		"a description that is long":  {`<dc:description>` + strings.Repeat("a b ", 2000) + `</dc:description>`, with(func(m *job.Metadata) { m.Description = strings.Repeat("a b ", 1023) + "a…" })},
		"a description with controls": {"<dc:description>a&#x9b;b\n\n c</dc:description>", with(func(m *job.Metadata) { m.Description = "a b\nc" })},
	} {
		doc, err := open(t, epub(t, describedBy(c.words), file{"OPS/c.xhtml", xhtml("<p>Hello.</p>")}), manuscript.TypeEPUB, manuscript.Options{})
		require.NoError(t, err, name)
		require.Equal(t, c.want, doc.About, name)
	}
}
