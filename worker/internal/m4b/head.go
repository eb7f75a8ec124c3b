package m4b

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// What a chapter's file may have before its packets: a cover, and four bytes for
// each packet of a chapter of days.
const maxMoov = 64 << 20

// Head is what is said of the packets of a file before they come.
type Head struct {
	Sizes  []uint16 // of each packet, in bytes
	Config []byte   // the decoder's: AudioSpecificConfig
	Rate   int      // in hertz
	At     int64    // where the first packet is in the file
	Bytes  int64    // of all packets, which stand one behind the other
}

// Packet is how many samples a packet has.
const Packet = 1024

// errForm says that a file is not of the kind that is bound here.
var errForm = errors.New("it is no MP4 file of one track of AAC with its tables first")

func malformed(what string) error { return fmt.Errorf("%w: %s", errForm, what) }

// early says that a file is not whole, and why: a bucket that is away is no broken file.
func early(err error) error { return fmt.Errorf("%w: it ends early: %w", errForm, err) }

// ReadHead reads a file up to its packets. What it does not know it passes over.
func ReadHead(r io.Reader) (*Head, error) {
	var moov []byte
	for at := int64(0); ; {
		kind, size, head, err := boxHead(r)
		if err != nil {
			return nil, err
		}
		body := size - head
		switch kind {
		case "mdat":
			if moov == nil {
				return nil, malformed("its packets come before its tables")
			}
			return parseMoov(moov, at+head, body)
		case "moov":
			if body > maxMoov {
				return nil, malformed("its tables are too large")
			}
			var buf bytes.Buffer
			if n, err := io.CopyN(&buf, r, body); err != nil {
				return nil, fmt.Errorf("%w: its tables end after %d bytes: %w", errForm, n, err)
			}
			moov = buf.Bytes()
		default:
			if _, err := io.CopyN(io.Discard, r, body); err != nil {
				return nil, early(err)
			}
		}
		at += size
	}
}

// boxHead reads what a box is and how large, its head included.
func boxHead(r io.Reader) (kind string, size, head int64, err error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:8]); err != nil {
		return "", 0, 0, early(err)
	}
	kind, size, head = string(b[4:8]), int64(binary.BigEndian.Uint32(b[:4])), 8
	if size == 1 {
		if _, err := io.ReadFull(r, b[8:]); err != nil {
			return "", 0, 0, early(err)
		}
		size, head = int64(binary.BigEndian.Uint64(b[8:])&math.MaxInt64), 16 //nolint:gosec // its highest bit is gone
	}
	if size < head {
		return "", 0, 0, malformed("a box is smaller than its head")
	}
	return kind, size, head, nil
}

// find returns the body of the first box of that path.
func find(b []byte, path ...string) []byte {
	for _, want := range path {
		found := false
		for len(b) >= 8 && !found {
			size := int(binary.BigEndian.Uint32(b))
			if size < 8 || size > len(b) {
				return nil
			}
			if string(b[4:8]) == want {
				b, found = b[8:size], true
			} else {
				b = b[size:]
			}
		}
		if !found {
			return nil
		}
	}
	return b
}

// parseMoov reads the tables of a file whose packets are in body bytes from at on.
func parseMoov(moov []byte, at, body int64) (*Head, error) {
	table := find(moov, "trak", "mdia", "minf", "stbl")
	if table == nil {
		return nil, malformed("it has no track")
	}
	h := &Head{}
	if err := h.readEntry(find(table, "stsd")); err != nil {
		return nil, err
	}
	if err := h.readSizes(find(table, "stsz")); err != nil {
		return nil, err
	}
	if err := h.readPlace(find(table, "stco"), find(table, "stsc")); err != nil {
		return nil, err
	}
	if h.At < at || h.Bytes > body-(h.At-at) {
		return nil, malformed("its packets are not where its tables say")
	}
	return h, nil
}

// readEntry reads how the packets are to be decoded.
func (h *Head) readEntry(stsd []byte) error {
	const fixed = 28 // of the entry, before the boxes in it
	if len(stsd) < 16+fixed || binary.BigEndian.Uint32(stsd[4:]) != 1 || string(stsd[12:16]) != "mp4a" {
		return malformed("its sound is not AAC")
	}
	h.Rate = int(binary.BigEndian.Uint16(stsd[16+24:]))
	esds := find(stsd[16+fixed:], "esds")
	if len(esds) < 4 {
		return malformed("it does not say how to decode it")
	}
	h.Config = config(esds[4:])
	if len(h.Config) == 0 || h.Rate == 0 {
		return malformed("it does not say how to decode it")
	}
	return nil
}

// config returns what MPEG-4's descriptors have for the decoder.
func config(d []byte) []byte {
	const stream, decoder, specific = 3, 4, 5
	fixed := map[byte]int{stream: 3, decoder: 13} // bytes before the descriptors within
	for len(d) >= 2 {
		tag, n, at := d[0], 0, 1
		for more := true; more && at < len(d) && at < 5; at++ {
			n, more = n<<7|int(d[at]&0x7f), d[at]&0x80 != 0
		}
		if n > len(d)-at {
			return nil
		}
		switch skip, within := fixed[tag]; {
		case tag == specific:
			return bytes.Clone(d[at : at+n])
		case within && n >= skip:
			d = d[at+skip : at+n]
		default:
			d = d[at+n:]
		}
	}
	return nil
}

func (h *Head) readSizes(stsz []byte) error {
	if len(stsz) < 12 {
		return malformed("it has no sizes")
	}
	one, n := binary.BigEndian.Uint32(stsz[4:]), int64(binary.BigEndian.Uint32(stsz[8:]))
	if one != 0 || n == 0 || n*4 != int64(len(stsz)-12) {
		return malformed("it has no sizes of packets")
	}
	h.Sizes = make([]uint16, n)
	for i := range h.Sizes {
		size := binary.BigEndian.Uint32(stsz[12+4*i:])
		if size > math.MaxUint16 {
			return malformed("a packet is too large")
		}
		h.Sizes[i] = uint16(size)
		h.Bytes += int64(size)
	}
	return nil
}

// readPlace reads where the packets are, and fails unless they stand one behind the other.
func (h *Head) readPlace(stco, stsc []byte) error {
	if len(stco) < 12 || len(stsc) < 20 {
		return malformed("it does not say where its packets are")
	}
	chunks, runs := stco[8:], stsc[8:]
	h.At = int64(binary.BigEndian.Uint32(chunks))
	next, packet, each := h.At, 0, 0
	for i := range len(chunks) / 4 {
		if int64(binary.BigEndian.Uint32(chunks[4*i:])) != next {
			return malformed("there is something between its packets")
		}
		if len(runs) >= 12 && int(binary.BigEndian.Uint32(runs)) == i+1 {
			each, runs = int(binary.BigEndian.Uint32(runs[4:])), runs[12:]
		}
		for range min(each, len(h.Sizes)-packet) {
			next += int64(h.Sizes[packet])
			packet++
		}
	}
	if packet != len(h.Sizes) {
		return malformed("it does not say where all its packets are")
	}
	return nil
}
