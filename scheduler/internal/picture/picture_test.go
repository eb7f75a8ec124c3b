package picture_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/picture"
)

func encoded(tb testing.TB, width, height int, as string) []byte {
	tb.Helper()
	var b bytes.Buffer
	m := image.NewGray(image.Rect(0, 0, width, height))
	if as == job.MediaPNG {
		require.NoError(tb, png.Encode(&b, m))
	} else {
		require.NoError(tb, jpeg.Encode(&b, m, nil))
	}
	return b.Bytes()
}

func TestWhatCanBeACover(t *testing.T) {
	t.Parallel()
	for _, media := range job.CoverTypes() {
		got, err := picture.Type(encoded(t, 3, 4, media))
		require.NoError(t, err)
		require.Equal(t, media, got)
	}
	for say, raw := range map[string][]byte{
		"The cover is no JPEG or PNG that can be read.":                   []byte("GIF89a"),
		"The cover has 8001 by 1 pixels; at most 8000 a side.":            encoded(t, 8001, 1, job.MediaPNG),
		"The cover has 4194305 bytes; at most 4194304.":                   make([]byte, job.MaxCoverBytes+1),
		"The cover is no JPEG or PNG that can be read.\x00 for it is cut": encoded(t, 3, 4, job.MediaPNG)[:20],
	} {
		_, err := picture.Type(raw)
		require.Error(t, err)
		want, _, _ := bytes.Cut([]byte(say), []byte{0})
		require.Equal(t, string(want), job.PublicOf(err, ""))
	}
}

func FuzzType(f *testing.F) {
	f.Add(encoded(f, 3, 4, job.MediaPNG))
	f.Add(encoded(f, 3, 4, job.MediaJPEG))
	f.Fuzz(func(t *testing.T, raw []byte) {
		media, err := picture.Type(raw)
		require.Equal(t, err == nil, slices.Contains(job.CoverTypes(), media))
		require.True(t, err == nil || job.PublicOf(err, "") != "")
	})
}
