package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What a page's flags say.
const (
	continued = 1 // it begins within a packet
	first     = 2
	last      = 4
)

const (
	fixed    = 27 // bytes of a page's head before its table
	segments = 255
)

// errForm says that a file is no Ogg, or not of Opus.
var errForm = errors.New("it is no Ogg file of Opus")

// page is one page; its bytes are used again for the next.
type page struct {
	flags   byte
	granule int64
	table   []byte // how long the pieces are that its packets are of
	body    []byte
}

// size is how many bytes the page has in a file.
func (p *page) size() int64 { return int64(fixed + len(p.table) + len(p.body)) }

// read reads the next page; io.EOF is what there is behind the last one.
func (p *page) read(r io.Reader) error {
	var head [fixed]byte
	if _, err := io.ReadFull(r, head[:]); err == io.EOF {
		return io.EOF
	} else if err != nil {
		return early(err)
	}
	if string(head[:5]) != "OggS\x00" {
		return fmt.Errorf("%w: where a page should be is none", errForm)
	}
	p.flags, p.granule = head[5], int64(binary.LittleEndian.Uint64(head[6:])) //nolint:gosec // -1 is one of its values
	p.table = append(p.table[:0], make([]byte, head[26])...)
	if _, err := io.ReadFull(r, p.table); err != nil {
		return early(err)
	}
	n := 0
	for _, s := range p.table {
		n += int(s)
	}
	p.body = append(p.body[:0], make([]byte, n)...)
	if _, err := io.ReadFull(r, p.body); err != nil {
		return early(err)
	}
	return nil
}

// early says that a page is not whole, and why: a bucket that is away is no broken file.
func early(err error) error { return fmt.Errorf("%w: a page ends early: %w", errForm, err) }

// ends is how many packets end on the page.
func (p *page) ends() (n int) {
	for _, s := range p.table {
		if s < segments {
			n++
		}
	}
	return n
}

// append writes the page behind b, as number n of a stream.
func (p *page) append(b []byte, serial, n uint32) []byte {
	at := len(b)
	b = append(b, "OggS\x00"...)
	b = append(b, p.flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.granule)) //nolint:gosec // as it was read
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, 0, 0, 0, 0, byte(len(p.table))) //nolint:gosec // at most 255
	b = append(b, p.table...)
	b = append(b, p.body...)
	binary.LittleEndian.PutUint32(b[at+22:], sum(b[at:]))
	return b
}

// pages cuts a packet into pages that end nothing but it.
func pages(packet []byte, flags byte) (all []*page) {
	for more := true; more; flags = continued {
		p := &page{flags: flags, granule: -1}
		for len(p.table) < segments && more {
			n := min(len(packet), segments)
			p.table, p.body, packet = append(p.table, byte(n)), append(p.body, packet[:n]...), packet[n:]
			more = n == segments // a packet ends with a piece that is not full
		}
		if !more {
			p.granule = 0
		}
		all = append(all, p)
	}
	return all
}

// polynomial is of Ogg's checksum, which begins at zero and is not turned round.
const polynomial = 0x04c11db7

// sums is what each byte adds to a checksum.
//
//nolint:gochecknoglobals // a table
var sums = func() (t [256]uint32) {
	for i := range t {
		v := uint32(i) << 24 //nolint:gosec // a byte
		for range 8 {
			carry := v >> 31
			v = v<<1 ^ carry*polynomial
		}
		t[i] = v
	}
	return t
}()

func sum(b []byte) (v uint32) {
	for _, c := range b {
		v = v<<8 ^ sums[byte(v>>24)^c]
	}
	return v
}
