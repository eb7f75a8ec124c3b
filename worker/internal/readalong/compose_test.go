package readalong_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/readalong"
)

func TestABookIsComposedOfChaptersAndSentences(t *testing.T) {
	t.Parallel()
	var first []byte
	for range 2 {
		var out bytes.Buffer
		b, err := readalong.Compose(&out, meta)
		require.NoError(t, err)
		at := func(ms ...int64) (s []readalong.Stretch) {
			for i, m := range ms {
				s = append(s, readalong.Stretch{At: 7 * i, Millis: m})
			}
			return s
		}
		fill(t, b, 5000,
			readalong.Segment{Text: "One!", Sentences: at(100), Paragraph: true},
			readalong.Segment{Text: "A < b. C & d.", Sentences: at(1000, 2000)},
			readalong.Segment{Text: "Oui.", Language: "fr", Sentences: at(3000), Paragraph: true},
			readalong.Segment{Text: "bad", Paragraph: true})
		require.Equal(t, readalong.Counts{Sentences: 4}, b.Counts())
		if first == nil {
			first = out.Bytes()
		}
		require.Equal(t, first, out.Bytes())
	}
	check(t, first)
	files := unpack(t, first)
	require.Contains(t, files["EPUB/chapter-001.xhtml"], `<body>
<h1><span id="s1">One!</span></h1>
<p><span id="s2">A &lt; b.</span> <span id="s3">C &amp; d.</span> <span id="s4" xml:lang="fr" lang="fr">Oui.</span></p>
<p>bad</p>
</body>`)
	require.Contains(t, files["EPUB/chapter-001.smil"], `<text src="chapter-001.xhtml#s4"/><audio src="chapter-001.m4a" clipBegin="3.000s" clipEnd="5.000s"/>`)
	require.Contains(t, files["EPUB/package.opf"], `<meta property="media:duration">5.000s</meta>`)
	require.Contains(t, files["EPUB/nav.xhtml"], `<li><a href="chapter-001.xhtml">One</a></li>`)
}
