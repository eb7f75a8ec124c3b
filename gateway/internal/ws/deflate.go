package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"sync"
)

// deflateTail ends a message's DEFLATE stream: the empty block that RFC 7692
// section 7.2.1 takes off the wire, and a final one so that the reader stops.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// ExtensionAnswer is the Sec-WebSocket-Extensions value this server answers
// with. No context is kept between messages in either direction: an idle
// connection costs no window.
const ExtensionAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// OffersDeflate reports whether a Sec-WebSocket-Extensions value offers
// permessage-deflate with parameters that [ExtensionAnswer] satisfies.
func OffersDeflate(extensions string) bool {
	for offer := range strings.SplitSeq(extensions, ",") {
		if deflateOfferFits(offer) {
			return true
		}
	}
	return false
}

func deflateOfferFits(offer string) bool {
	name, params, _ := strings.Cut(offer, ";")
	if strings.TrimSpace(name) != "permessage-deflate" {
		return false
	}
	seen := map[string]bool{}
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if key != "" && seen[key] {
			return false
		}
		seen[key] = true
		switch key {
		case "":
		case "client_max_window_bits": // a hint we need not answer
		case "server_no_context_takeover", "client_no_context_takeover":
			if value != "" {
				return false
			}
		case "server_max_window_bits":
			if value != "15" { // compress/flate has one window size
				return false
			}
		default:
			return false
		}
	}
	return true
}

// A compressed message may be a quarter longer than what is in it, and 64 KiB, of
// which 36 KiB may be on their way through the decompressor. A compressor adds an
// eighth at most; blocks that are empty take a second a megabyte.
const (
	packedSlack   = 64 << 10
	packedPercent = 125
)

// errPadded means that a message is longer than a compressor makes it.
var errPadded = errors.New("compressed data without content")

// source is a compressed message that is read as long as something comes of it.
type source struct {
	packed io.Reader
	read   int
	out    *bytes.Buffer
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.read > packedSlack+s.out.Len()*packedPercent/100 {
		return 0, errPadded
	}
	n, err := s.packed.Read(p)
	s.read += n
	return n, err
}

// Inflater decompresses messages. It is safe for concurrent use; one serves
// every connection.
type Inflater struct{ pool sync.Pool }

// NewInflater returns an Inflater.
func NewInflater() *Inflater {
	return &Inflater{pool: sync.Pool{New: func() any { return flate.NewReader(nil) }}}
}

// Inflate returns the decompressed message. One that would exceed limit bytes
// is refused with code 1009, a broken one with 1007, as a *[ProtocolError].
func (i *Inflater) Inflate(message []byte, limit int) ([]byte, error) {
	r := i.pool.Get().(io.ReadCloser) // the pool holds nothing else
	defer i.pool.Put(r)
	var out bytes.Buffer
	src := &source{packed: io.MultiReader(bytes.NewReader(message), strings.NewReader(deflateTail)), out: &out}
	if err := r.(flate.Resetter).Reset(src, nil); err != nil { // flate.NewReader promises it
		return nil, &ProtocolError{Code: CodeInternal, Reason: "decompression did not start"}
	}
	n, err := io.Copy(&out, io.LimitReader(r, int64(limit)+1))
	if n > int64(limit) {
		return nil, &ProtocolError{Code: CodeTooBig, Reason: "the message is too big when decompressed"}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &ProtocolError{Code: CodeInvalidPayload, Reason: "the compressed data is broken"}
	}
	return out.Bytes(), nil
}

// Deflater compresses messages. It is safe for concurrent use; one serves every
// connection.
type Deflater struct{ pool sync.Pool }

// NewDeflater returns a Deflater of the given compress/flate level, 1 to 9.
func NewDeflater(level int) (*Deflater, error) {
	if _, err := flate.NewWriter(io.Discard, level); err != nil {
		return nil, err
	}
	return &Deflater{pool: sync.Pool{New: func() any {
		w, _ := flate.NewWriter(io.Discard, level) // the level was tried above
		return w
	}}}, nil
}

// Append appends the compressed form of message to dst, as RFC 7692 puts it on
// the wire: flushed, without the last four bytes.
func (d *Deflater) Append(dst, message []byte) []byte {
	w := d.pool.Get().(*flate.Writer) // the pool holds nothing else
	defer d.pool.Put(w)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	_, _ = w.Write(message) // a bytes.Buffer never fails
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}
