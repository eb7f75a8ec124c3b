package manuscript_test

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

func TestTheCoverIsTheOneThatTheBookNames(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	require.NoError(t, png.Encode(&buf, image.NewGray(image.Rect(0, 0, 2, 3))))
	picture := buf.String()
	text := file{"OPS/c.xhtml", xhtml("<p>Hello.</p>")}
	epub2 := file{"OPS/book.opf", strings.Replace(opf([]string{"c c.xhtml", "pic img/front.png"}, "c", "").content,
		"</metadata>", `<meta name="cover" content="pic"/></metadata>`, 1)}
	for name, c := range map[string]struct {
		files []file
		found bool
	}{
		"EPUB 3":              {[]file{opf([]string{"c c.xhtml", "x a.png", "pic img/front.png cover-image"}, "c", ""), {"OPS/img/front.png", picture}}, true},
		"EPUB 2":              {[]file{epub2, {"OPS/img/front.png", picture}}, true},
		"the guide":           {[]file{opf([]string{"c c.xhtml"}, "c", `<reference type="cover" href="img/front.png"/>`), {"OPS/img/front.png", picture}}, true},
		"none":                {[]file{opf([]string{"c c.xhtml", "x a.png"}, "c", ""), {"OPS/a.png", picture}}, false},
		"one that is missing": {[]file{opf([]string{"c c.xhtml", "pic img/front.png cover-image"}, "c", "")}, false},
		"one that is none":    {[]file{opf([]string{"c c.xhtml", "pic img/front.png cover-image"}, "c", ""), {"OPS/img/front.png", "<svg/>"}}, false},
		"one that is too large": {[]file{
			opf([]string{"c c.xhtml", "pic img/front.png cover-image"}, "c", ""),
			{"OPS/img/front.png", picture + strings.Repeat("\x00", job.MaxCoverBytes)},
		}, false},
	} {
		raw := epub(t, append(c.files, text)...)
		doc, err := open(t, raw, manuscript.TypeEPUB, manuscript.Options{Cover: true})
		require.NoError(t, err, name)
		require.Equal(t, c.found, doc.Cover != nil, name)
		if c.found {
			require.Equal(t, manuscript.Cover{MediaType: job.MediaPNG, Data: []byte(picture)}, *doc.Cover, name)
		}
		doc, err = open(t, raw, manuscript.TypeEPUB, manuscript.Options{})
		require.NoError(t, err, name)
		require.Nil(t, doc.Cover, "%s: nobody asked", name)
	}
}
