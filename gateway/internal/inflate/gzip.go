package inflate

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
)

// Limits bounds what comes out.
type Limits struct {
	Bytes int64 // most bytes
	Ratio int64 // most bytes for each byte that went in; text has about 4, JSON up to 20
	Floor int64 // bytes that may come out whatever the ratio
}

// DefaultLimits returns 1 MiB, the limit of a body that is not packed, and a
// ratio of 100 above 64 KiB.
func DefaultLimits() Limits { return Limits{Bytes: 1 << 20, Ratio: 100, Floor: 64 << 10} }

// Gzip returns what packed holds: one gzip stream, to its end. TooLarge if that
// is more than the limits allow, Invalid if it is no gzip.
func Gzip(packed []byte, l Limits) ([]byte, error) {
	in := bytes.NewReader(packed)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, bad(err)
	}
	z.Multistream(false)
	most := min(l.Bytes, max(l.Floor, l.Ratio*int64(len(packed))))
	var out bytes.Buffer
	out.Grow(int(min(most, 4*int64(len(packed)))))
	n, err := io.Copy(&out, io.LimitReader(z, most+1))
	switch {
	case err != nil:
		return nil, bad(err)
	case n > most:
		return nil, tooLarge(most)
	case in.Len() > 0:
		return nil, bad(errTrailing)
	}
	return out.Bytes(), nil
}

func tooLarge(most int64) error {
	return &job.Error{Op: "inflate.Gzip", Kind: job.TooLarge, Public: fmt.Sprintf("The body has more than %d bytes when it is unpacked.", most)}
}
