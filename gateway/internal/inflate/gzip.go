package inflate

import (
	"bytes"
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
	l.Bytes = min(l.Bytes, max(l.Floor, l.Ratio*int64(len(packed))))
	l.Floor = l.Bytes // all of it is there, so that the ratio is that of the whole
	return io.ReadAll(NewReader(bytes.NewReader(packed), l))
}

func tooLarge(most int64) error {
	return &job.Error{Op: "inflate.Gzip", Kind: job.TooLarge, Public: fmt.Sprintf("The body has more than %d bytes when it is unpacked.", most)}
}
