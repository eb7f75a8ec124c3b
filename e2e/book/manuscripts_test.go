package book_test

import (
	"archive/zip"
	"bytes"
	"html"
	"io"
	"regexp"
	"strings"

	"github.com/voicemill/voicemill/e2e/internal/epub"
	"github.com/voicemill/voicemill/job"
)

// manuscript is an input with what its reader has to say: per chapter the
// title and the words, written by hand.
type manuscript struct {
	media    string
	data     []byte
	segments []map[string]any // instead of data
	pauses   job.Pauses
	chapters []spoken
}

type spoken struct{ title, words string }

const longSentences = `The keeper of the light had counted ships for forty years, and in all that time he had never seen one turn back so
close to the harbour wall. He wrote the hour into his book, he wrote the wind and the height of the sea, and then he put
the pen away and watched. The rain had stopped at last. Behind the hills the sky was the colour of slate, and a single gull
hung over the water as if somebody had forgotten it there. When the ship turned for the second time he went down the
hundred and twelve steps to wake the harbour master, who did not like to be woken.`

func theEPUB() ([]byte, error) {
	return epub.Zip(epub.Files(
		"Four Parts",
		epub.Chapter{File: "one.xhtml", Title: "The Harbour", Body: `<section epub:type="chapter"><h1>The Harbour</h1>
<p>The ship came in at <em>dawn</em>.<a epub:type="noteref" href="#n1"><sup>1</sup></a> Nobody had expected her before noon.</p>
<p>She carried lanterns from <ruby>東京<rp>(</rp><rt>とうきょう</rt><rp>)</rp></ruby>, caf&#233; cups &amp; salt.</p>
<aside epub:type="footnote" id="n1"><p>Dawn is at five in June.</p></aside>
</section>`},
		epub.Chapter{
			File: "two.xhtml", Title: "The Town", Inner: []epub.Link{{Fragment: "market", Title: "The Market"}},
			Body: `<section><h1>The Town</h1><p>` + longSentences + `</p>
<section id="market"><h2>The Market</h2><p>Fish was sold on Fridays.</p><h3>Prices</h3><p>Herring cost 3 pence.</p></section></section>`,
		},
		epub.Chapter{File: "end.xhtml", Title: "The End", Body: `<h1>The End</h1><blockquote><p>“Go home,” said the pilot.</p></blockquote><hr/><p>They went.</p>`},
	))
}

func manuscripts() (map[string]manuscript, error) {
	book, err := theEPUB()
	if err != nil {
		return nil, err
	}
	odd := job.Pauses{Sentence: 0.123, Paragraph: 0.4567, Chapter: 1.001}
	return map[string]manuscript{
		"an EPUB with notes, ruby and nested headings": {media: job.MediaEPUB, data: book, pauses: odd, chapters: []spoken{
			{"The Harbour", `The Harbour The ship came in at dawn. Nobody had expected her before noon.
				She carried lanterns from 東京, café cups & salt. Dawn is at five in June.`},
			{"The Town", "The Town " + longSentences},
			{"The Market", "The Market Fish was sold on Fridays. Prices Herring cost 3 pence."},
			{"The End", "The End “Go home,” said the pilot. They went."},
		}},
		"Markdown": {media: job.MediaMarkdown, pauses: job.DefaultPauses(), data: []byte(`# First light

The *morning* was cold.[^1] It was **very** cold, said the
[keeper](https://example.com/keeper).

[^1]: Four degrees below zero.

## Inside

A fire burned. ` + longSentences + `

# Second light

Noon came.
`), chapters: []spoken{
			{"First light", "First light The morning was cold. It was very cold, said the keeper. Four degrees below zero. Inside A fire burned. " + longSentences},
			{"Second light", "Second light Noon came."},
		}},
		"HTML": {media: job.MediaHTML, pauses: job.Pauses{}, data: []byte(`<!doctype html><html lang="en"><head><title>Not spoken</title>
<style>p { color: red }</style><script>var never = "spoken";</script></head><body>
<h1>Tea &amp; rain</h1><p>It rained<br>all day.<p>Tea was <b>hot</b>.
<h1>Supper</h1><ul><li>Bread</li><li>Cheese</li></ul><p hidden>Nobody hears this.</p></body></html>`), chapters: []spoken{
			{"Tea & rain", "Tea & rain It rained all day. Tea was hot."},
			{"Supper", "Supper Bread Cheese"},
		}},
		"plain text": {media: job.MediaText, pauses: job.Pauses{Sentence: 10, Paragraph: 0.0001, Chapter: 0}, data: []byte(
			longSentences + "\n\nThe second paragraph is short.\n",
		), chapters: []spoken{{"", longSentences + " The second paragraph is short."}}},
		"segments cut by the client": {pauses: odd, segments: []map[string]any{
			{"text": "One line is spoken."}, {"text": "A second line follows, in the same voice."}, {"text": "One line is spoken."},
		}, chapters: []spoken{{"", "One line is spoken. A second line follows, in the same voice. One line is spoken."}}},
	}, nil
}

// document returns the bytes that a segment's source range counts in.
func (m manuscript) document(name string) ([]byte, error) {
	if m.media != job.MediaEPUB {
		return m.data, nil
	}
	z, err := zip.NewReader(bytes.NewReader(m.data), int64(len(m.data)))
	if err != nil {
		return nil, err
	}
	f, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

var (
	unspoken = regexp.MustCompile(`(?s)<rp>.*?</rp>|<rt>.*?</rt>|<a epub:type="noteref".*?</a>`)
	tag      = regexp.MustCompile(`(?s)<.*?>`)
	linked   = regexp.MustCompile(`\[(\w+)\]\([^)]*\)|\[\^\d\]|\*+`)
)

// readable is what is left of a piece of source for the ear.
func (m manuscript) readable(source []byte) string {
	s := string(source)
	switch m.media {
	case job.MediaEPUB, job.MediaHTML:
		s = html.UnescapeString(tag.ReplaceAllString(unspoken.ReplaceAllString(strings.ReplaceAll(s, "<br>", " "), ""), ""))
	case job.MediaMarkdown:
		s = linked.ReplaceAllString(s, "$1")
	}
	return folded(s)
}

func folded(s string) string { return strings.Join(strings.Fields(s), " ") }
