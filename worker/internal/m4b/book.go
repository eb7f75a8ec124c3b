package m4b

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

const (
	scale      = 1000    // of the movie, in units a second
	chunk      = 43      // packets that a table of places counts as one: about a second
	maxPackets = 1 << 29 // twenty weeks; their sizes stay below 4 GiB
	maxConfig  = 64      // bytes of a decoder's configuration
)

// Book is what a file is made of.
type Book struct {
	Language  string // of ISO 639-2, three letters; und: unknown
	Tags      []Tag
	Cover     []byte // a picture; empty: none
	CoverType string // its media type, image/jpeg or image/png
	Chapters  []Chapter
}

// Chapter is a part of a book. It is one file's packets.
type Chapter struct {
	Title string
	Head  *Head
}

// File is a book that is laid out.
type File struct {
	Size    int64 // of the whole file, in bytes
	Samples int64 // in its packets

	heads       []*Head
	front, back []byte // before and behind the table of sizes
}

// New lays out a book. What is heard of it begins with the second packet, the first
// being the encoder's; chapter n+1 begins where the packets of chapter n end.
func New(b Book) (*File, error) {
	if len(b.Chapters) == 0 {
		return nil, malformed("a book has chapters")
	}
	l := &layout{Book: b, first: b.Chapters[0].Head}
	f := &File{}
	for _, c := range b.Chapters {
		h := c.Head
		if h.Rate != l.first.Rate || !bytes.Equal(h.Config, l.first.Config) || len(h.Config) > maxConfig {
			return nil, fmt.Errorf("%w: its sound is not like that of the others", errForm)
		}
		l.packets += int64(len(h.Sizes))
		l.sound += h.Bytes
		l.ends = append(l.ends, l.packets*Packet)
		l.texts = append(l.texts, sample(c.Title))
		f.heads = append(f.heads, h)
	}
	if l.packets > maxPackets {
		return nil, malformed("it is too long")
	}
	for _, t := range l.texts {
		l.words += int64(len(t))
	}
	f.front, f.back = l.write(0)
	base := int64(len(f.front)) + 4*l.packets + int64(len(f.back)) - l.words
	f.front, f.back = l.write(base)
	f.Size, f.Samples = base+l.words+l.sound, l.packets*Packet
	return f, nil
}

// WriteHead writes all that is before the packets, which the caller writes behind it.
func (f *File) WriteHead(w io.Writer) error {
	if _, err := w.Write(f.front); err != nil {
		return err
	}
	var buf []byte
	for _, h := range f.heads {
		buf = buf[:0]
		for _, size := range h.Sizes {
			buf = binary.BigEndian.AppendUint32(buf, uint32(size))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	_, err := w.Write(f.back)
	return err
}

// layout is a book while it is laid out.
type layout struct {
	Book
	first   *Head
	ends    []int64 // where chapters end, in samples
	texts   [][]byte
	packets int64
	sound   int64 // bytes of packets
	words   int64 // bytes of texts, which stand before these
	split   int   // where the table of sizes goes
}

// write writes what is before the packets, where what is in the last box begins at base.
// Its length does not depend on base.
func (l *layout) write(base int64) (front, back []byte) {
	w := &writer{}
	w.box("ftyp", func() { w.text("M4B \x00\x00\x02\x00M4B M4A mp42isom") })
	w.box("moov", func() {
		w.full("mvhd", 0, 0, func() {
			w.zero(8) // no dates
			w.u32(scale)
			w.u32(l.heard())
			w.u32(1 << 16) // at its own pace
			w.u16(1 << 8)  // and volume
			w.zero(10)
			w.matrix()
			w.zero(24)
			w.u32(3) // the next track's number
		})
		l.audio(w, base+l.words)
		l.chapters(w, base)
		w.box("udta", func() { l.said(w) })
	})
	w.u32(1) // a size of 64 bits
	w.text("mdat")
	w.u64(16 + l.words + l.sound)
	for _, t := range l.texts {
		w.bytes(t)
	}
	return w.b[:l.split:l.split], w.b[l.split:]
}

// heard is how long the book sounds, in units of the movie.
func (l *layout) heard() uint32 {
	return uint32(min(math.MaxUint32, ((l.packets-1)*Packet*scale+int64(l.first.Rate)-1)/int64(l.first.Rate))) //nolint:gosec // as far as it can be said
}

// audio writes the track that is heard.
func (l *layout) audio(w *writer, at int64) {
	w.box("trak", func() {
		l.trackHead(w, 1, 3, 1<<8)
		w.box("edts", func() {
			w.full("elst", 0, 0, func() {
				w.u32(1)
				w.u32(l.heard())
				w.u32(Packet) // the encoder's is left out
				w.u32(1 << 16)
			})
		})
		w.box("tref", func() { w.box("chap", func() { w.u32(2) }) })
		w.box("mdia", func() {
			l.mediaHead(w, l.packets*Packet, "soun")
			w.box("minf", func() {
				w.full("smhd", 0, 0, func() { w.zero(4) })
				here(w)
				w.box("stbl", func() { l.audioTable(w, at) })
			})
		})
	})
}

func (l *layout) audioTable(w *writer, at int64) {
	w.full("stsd", 0, 0, func() { w.u32(1); w.box("mp4a", func() { l.entry(w) }) })
	w.full("stts", 0, 0, func() { w.u32(1); w.u32(uint32(l.packets)); w.u32(Packet) }) //nolint:gosec // at most maxPackets
	chunks, rest := l.packets/chunk, l.packets%chunk
	w.full("stsc", 0, 0, func() {
		runs := [][2]int64{}
		if chunks > 0 {
			runs = append(runs, [2]int64{1, chunk})
		}
		if rest > 0 {
			runs = append(runs, [2]int64{chunks + 1, rest})
		}
		w.u32(uint32(len(runs))) //nolint:gosec // two
		for _, r := range runs {
			w.u32(uint32(r[0])) //nolint:gosec // fewer than packets
			w.u32(uint32(r[1])) //nolint:gosec // at most chunk
			w.u32(1)
		}
	})
	l.places(w, at, chunks+(rest+chunk-1)/chunk)
	w.full("stsz", 0, 0, func() { // the last one here, since it is sent by itself
		w.u32(0)
		w.u32(uint32(l.packets)) //nolint:gosec // at most maxPackets
		l.split = len(w.b)
		w.later += 4 * l.packets
	})
}

// places writes where each chunk begins, in 64 bits if that is needed for one.
func (l *layout) places(w *writer, at, chunks int64) {
	const room = 1 << 28                                    // more than what is before the packets and whose length is not known yet
	kind, put := "stco", func(v int64) { w.u32(uint32(v)) } //nolint:gosec // looked at below
	if 8*l.packets+l.words+l.sound+room > math.MaxUint32 {
		kind, put = "co64", w.u64
	}
	w.full(kind, 0, 0, func() {
		w.u32(uint32(chunks)) //nolint:gosec // fewer than packets
		n := 0
		for _, c := range l.Chapters {
			for _, size := range c.Head.Sizes {
				if n%chunk == 0 {
					put(at)
				}
				at += int64(size)
				n++
			}
		}
	})
}

// entry writes how the packets are decoded.
func (l *layout) entry(w *writer) {
	w.zero(6)
	w.u16(1)
	w.zero(8)
	w.u16(1)  // channel
	w.u16(16) // bits of a sample
	w.zero(4)
	w.u32(uint32(l.first.Rate) << 16)                                              //nolint:gosec // at most 65,535
	pace := uint32(min(l.sound*8*int64(l.first.Rate)/(l.packets*Packet), 1<<31-1)) //nolint:gosec // bits a second
	specific := append([]byte{5, byte(len(l.first.Config))}, l.first.Config...)    //nolint:gosec // at most maxConfig
	w.full("esds", 0, 0, func() {
		w.u8(3) // a stream
		w.u8(byte(3 + 2 + 13 + len(specific) + 3))
		w.u16(1)
		w.u8(0)
		w.u8(4) // its decoder
		w.u8(byte(13 + len(specific)))
		w.u8(0x40) // MPEG-4
		w.u8(0x15) // sound
		w.zero(3)
		w.u32(pace)
		w.u32(pace)
		w.bytes(specific)
		w.bytes([]byte{6, 1, 2}) // as MP4 has it
	})
}

// chapters writes the track that Apple's players take chapters from.
func (l *layout) chapters(w *writer, at int64) {
	w.box("trak", func() {
		l.trackHead(w, 2, 2, 0) // which is not shown by itself
		w.box("mdia", func() {
			l.mediaHead(w, (l.packets-1)*Packet, "text")
			w.box("minf", func() {
				w.box("gmhd", func() {
					w.full("gmin", 0, 0, func() { w.u16(0x40); w.u16(0x8000); w.u16(0x8000); w.u16(0x8000); w.zero(4) })
					w.box("text", w.matrix)
				})
				here(w)
				w.box("stbl", func() { l.chapterTable(w, at) })
			})
		})
	})
}

func (l *layout) chapterTable(w *writer, at int64) {
	n := uint32(len(l.texts)) //nolint:gosec // bounded by job.Limits
	w.full("stsd", 0, 0, func() {
		w.u32(1)
		w.box("text", func() {
			w.zero(6)
			w.u16(1)
			w.zero(4)
			w.u32(1) // centred
			w.zero(35)
		})
	})
	w.full("stts", 0, 0, func() {
		w.u32(n)
		for i := range l.texts {
			begin, end := l.span(i)
			w.u32(1)
			w.u32(uint32(min(end-begin, math.MaxUint32))) //nolint:gosec // a chapter of a day
		}
	})
	w.full("stsc", 0, 0, func() { w.u32(1); w.u32(1); w.u32(n); w.u32(1) })
	w.full("stsz", 0, 0, func() {
		w.u32(0)
		w.u32(n)
		for _, t := range l.texts {
			w.u32(uint32(len(t))) //nolint:gosec // a title
		}
	})
	w.full("co64", 0, 0, func() { w.u32(1); w.u64(at) })
}

// span is where a chapter begins and ends, in samples that are heard.
func (l *layout) span(i int) (begin, end int64) {
	if i > 0 {
		begin = l.ends[i-1]
	}
	if end = l.ends[i]; i == len(l.ends)-1 {
		end -= Packet
	}
	return begin, max(end, begin)
}

// sample is a title as a track of text has it, in UTF-8.
func sample(title string) []byte {
	title = cut(title, math.MaxUint16)
	b := binary.BigEndian.AppendUint16(nil, uint16(len(title))) //nolint:gosec // cut
	return append(append(b, title...), "\x00\x00\x00\x0cencd\x00\x00\x01\x00"...)
}

// cut shortens a text to so many bytes, before a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

func (l *layout) trackHead(w *writer, id, flags uint32, volume uint16) {
	w.full("tkhd", 0, flags, func() {
		w.zero(8)
		w.u32(id)
		w.zero(4)
		w.u32(l.heard())
		w.zero(12)
		w.u16(volume)
		w.zero(2)
		w.matrix()
		w.zero(8)
	})
}

// mediaHead writes how long a track is in samples, its language and its kind.
func (l *layout) mediaHead(w *writer, samples int64, kind string) {
	long := samples > math.MaxUint32
	version := byte(0)
	if long {
		version = 1
	}
	w.full("mdhd", version, 0, func() {
		if long {
			w.zero(16)
			w.u32(uint32(l.first.Rate)) //nolint:gosec // at most 65,535
			w.u64(samples)
		} else {
			w.zero(8)
			w.u32(uint32(l.first.Rate)) //nolint:gosec // at most 65,535
			w.u32(uint32(samples))      //nolint:gosec // just seen
		}
		w.u16(language(l.Language))
		w.zero(2)
	})
	w.full("hdlr", 0, 0, func() {
		w.zero(4)
		w.text(kind)
		w.zero(13) // without a name
	})
}

// language packs three letters into 15 bits.
func language(code string) uint16 {
	if len(code) != 3 {
		code = "und"
	}
	v := uint16(0)
	for _, c := range []byte(code) {
		v = v<<5 | uint16(c-0x60)&0x1f
	}
	return v
}

// here says that packets are in this file.
func here(w *writer) {
	w.box("dinf", func() { w.full("dref", 0, 0, func() { w.u32(1); w.full("url ", 0, 1, func() {}) }) })
}
