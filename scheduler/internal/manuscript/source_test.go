package manuscript_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

const tracedPage = `<html><body><h1 id="a">The&nbsp;House</h1>
<p>It stood &mdash; as
   <i>houses</i> do &mdash; on a hill. Cafe` + "\u0301" + ` stran&#x67;er: &#x65;&#x301;te&#769;! It was old, so old that nobody in the village could say who had built it, or when, or why; and
 those who asked were sent from door to door until they had forgotten the question. Then they went home.</p><ul><li>o<b>n</b>e<li>two</ul>
<table><tr><td>a<td>b</table><pre>line one
line two</pre><p>hy&shy;phen <![CDATA[a]]]> end</p></body></html>`

const tracedMarkdown = "---\ntitle: x\n---\n# The *House*\n\nIt **stood** \\* on a [hill](http://x \"y\") &amp; so on. It was old, so old that nobody in the\nvillage could say who had built it, or when, or why; and those who asked were sent from door to door until they had `forgotten` the question. Then they went home.\n\n> - one\n>   two\n> - <b>three</b>\n\n| a | b |\n|--|--|\n| c | d |\n\n```\nline\n  line\n```\n\nTerm\n: Sense\n"

func TestEverySegmentIsTracedToItsSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, mediaType string }{
		"HTML":     {tracedPage, manuscript.TypeHTML},
		"XHTML":    {tracedPage, manuscript.TypeXHTML},
		"Markdown": {tracedMarkdown, manuscript.TypeMarkdown},
		"plain":    {"\ufeffCHAPTER I\r\n\r\n" + wrapped + wrapped + "Roses are _red_,\n  violets blue\n", manuscript.TypePlain},
		"Japanese": {"一。二、\n\n「三！」と四。cafe\u0301 が\u3099\n", manuscript.TypePlain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, []byte(c.text), c.mediaType)
			requireTraced(t, func(string) string { return c.text }, chapters)
		})
	}
	t.Run("EPUB", func(t *testing.T) {
		t.Parallel()
		_, chapters := read(t, small(t, tracedPage), manuscript.TypeEPUB)
		requireTraced(t, func(name string) string {
			require.Equal(t, "OPS/c.xhtml", name)
			return xhtml(tracedPage)
		}, chapters)
	})
}

func TestRangesAreThoseOfTheBytesDelivered(t *testing.T) {
	t.Parallel()
	text := "<?xml version=\"1.0\" encoding=\"%s\"?><html><body>" + repeat("<p>Жил да был старик, и было у него три сына. 日本</p>\n", 100) + "</body></html>"
	utf16 := func(order unicode.Endianness) func(string) ([]byte, error) {
		return func(s string) ([]byte, error) {
			return unicode.UTF16(order, unicode.UseBOM).NewEncoder().Bytes([]byte(s))
		}
	}
	for name, c := range map[string]struct {
		label, text string
		encode      func(string) ([]byte, error)
		decode      func([]byte) ([]byte, error)
	}{
		"UTF-16 LE":    {"utf-16", text, utf16(unicode.LittleEndian), unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder().Bytes},
		"UTF-16 BE":    {"utf-16", text, utf16(unicode.BigEndian), unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder().Bytes},
		"Windows-1251": {"windows-1251", noHan(text), func(s string) ([]byte, error) { return charmap.Windows1251.NewEncoder().Bytes([]byte(s)) }, charmap.Windows1251.NewDecoder().Bytes},
		"Shift JIS":    {"shift_jis", text, func(s string) ([]byte, error) { return japanese.ShiftJIS.NewEncoder().Bytes([]byte(s)) }, japanese.ShiftJIS.NewDecoder().Bytes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := c.encode(replaceOnce(c.text, "%s", c.label))
			require.NoError(t, err)
			_, chapters := read(t, raw, manuscript.TypeXHTML)
			require.Len(t, texts(chapters), 100)
			for _, s := range chapters[0].Segments {
				got, err := c.decode(raw[s.Source.Start:s.Source.End])
				require.NoError(t, err)
				require.Equal(t, s.Text, string(got))
			}
		})
	}
}

func TestCharsetsAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, mediaType string }{
		"declared in the media type":       {"caf\xe9", "text/plain; charset=iso-8859-1"},
		"declared in the page":             {"<meta charset=iso-8859-1><p>caf\xe9", manuscript.TypeHTML},
		"declared in the XML":              {"<?xml version='1.0' encoding='ISO-8859-1'?><p>caf\xe9</p>", manuscript.TypeXHTML},
		"undeclared":                       {"caf\xe9", manuscript.TypePlain},
		"declared, but it is UTF-8":        {"<meta charset=iso-8859-1><p>café</p>", manuscript.TypeHTML},
		"declared as UTF-8, but it is not": {"<?xml version='1.0' encoding='UTF-8'?><p>caf\xe9</p>", manuscript.TypeXHTML},
		"UTF-16 without a mark":            {"<\x00?\x00x\x00m\x00l\x00?\x00>\x00<\x00p\x00>\x00c\x00a\x00f\x00\xe9\x00<\x00/\x00p\x00>\x00", manuscript.TypeXHTML},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, chapters := read(t, []byte(c.text), c.mediaType)
			require.Equal(t, []string{"café"}, texts(chapters))
		})
	}
}
