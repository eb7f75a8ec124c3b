package picture

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // what covers may be, as the next
	_ "image/png"

	"github.com/voicemill/voicemill/job"
)

// maxSide bounds a picture, in pixels: players unpack it.
const maxSide = 8000

// Type returns the media type of a picture, one of [job.CoverTypes]. An error is a
// *job.Error whose Public sentence says why it cannot be a cover.
func Type(raw []byte) (string, error) {
	if len(raw) > job.MaxCoverBytes {
		return "", refuse(job.TooLarge, "The cover has %d bytes; at most %d.", len(raw), job.MaxCoverBytes)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return "", refuse(job.Invalid, "The cover is no JPEG or PNG that can be read.")
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide {
		return "", refuse(job.Invalid, "The cover has %d by %d pixels; at most %d a side.", c.Width, c.Height, maxSide)
	}
	return "image/" + format, nil
}

func refuse(kind job.Kind, format string, args ...any) error {
	return &job.Error{Op: "picture", Kind: kind, Public: fmt.Sprintf(format, args...)}
}
