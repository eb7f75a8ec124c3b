package http1

import "fmt"

// Limits bounds what a [Parser] accepts.
type Limits struct {
	HeadBytes   int   // request line and fields with their line ends; at most 65535
	Fields      int   // number of header fields
	TargetBytes int   // request target
	BodyBytes   int64 // body after removal of the chunked coding
}

// DefaultLimits returns the documented defaults: 16 KiB of head, 64 fields,
// 8 KiB of target, 1 MiB of body.
func DefaultLimits() Limits {
	return Limits{HeadBytes: 16 << 10, Fields: 64, TargetBytes: 8 << 10, BodyBytes: 1 << 20}
}

// Validate reports the first limit that cannot work.
func (l *Limits) Validate() error {
	switch {
	case l.HeadBytes < 64 || l.HeadBytes > 1<<16-1:
		return fmt.Errorf("head limit is %d bytes; want 64 to 65535, because offsets into a head have 16 bits", l.HeadBytes)
	case l.Fields < 1:
		return fmt.Errorf("field limit is %d; want at least 1", l.Fields)
	case l.TargetBytes < 1 || l.TargetBytes > l.HeadBytes:
		return fmt.Errorf("target limit is %d bytes; want 1 to the head limit of %d", l.TargetBytes, l.HeadBytes)
	case l.BodyBytes < 0:
		return fmt.Errorf("body limit is %d bytes; want 0 or more", l.BodyBytes)
	}
	return nil
}

const (
	leadingLines     = 2        // RFC 9112 section 2.2 asks to ignore at least one empty line before a request
	methodBytes      = 24       // the longest registered method, UPDATEREDIRECTREF, has 17
	chunkDigits      = 15       // hexadecimal digits of a chunk size: 60 bits cannot overflow int64
	chunkLineBytes   = 256      // one chunk-size line with its extensions
	extensionBytes   = 4 << 10  // all chunk extensions of one message
	trailerBytes     = 4 << 10  // the whole trailer section
	keptBufferBytes  = 64 << 10 // buffers above this are not kept for the next request
	contentLenDigits = 18       // 18 digits cannot overflow int64
)
