package m4b

import (
	"encoding/binary"
	"strings"
)

// Tag is one thing that a file says of itself, by ffmpeg's name for it.
type Tag struct{ Name, Value string }

// names are Apple's names for what has one.
//
//nolint:gochecknoglobals // a table
var names = map[string]string{
	"title": "\xa9nam", "artist": "\xa9ART", "album_artist": "aART", "composer": "\xa9wrt", "album": "\xa9alb", "date": "\xa9day",
	"grouping": "\xa9grp", "genre": "\xa9gen", "comment": "\xa9cmt", "description": "desc",
}

// The kinds of values.
const (
	text      = 1
	jpeg      = 13
	png       = 14
	number    = 21
	audiobook = 2 // the value of stik
)

// said writes what the file says of itself, and Nero's list of chapters.
func (l *layout) said(w *writer) {
	w.full("meta", 0, 0, func() {
		w.full("hdlr", 0, 0, func() {
			w.zero(4)
			w.text("mdirappl")
			w.zero(9)
		})
		w.box("ilst", func() {
			for _, t := range l.Tags {
				if t.Value != "" {
					said(w, t)
				}
			}
			w.box("stik", func() { data(w, number, []byte{audiobook}) })
			w.box("pgap", func() { data(w, number, []byte{1}) })
			if len(l.Cover) > 0 {
				kind := uint32(jpeg)
				if l.CoverType == "image/png" {
					kind = png
				}
				w.box("covr", func() { data(w, kind, l.Cover) })
			}
		})
	})
	l.list(w)
}

func said(w *writer, t Tag) {
	if name := names[t.Name]; name != "" {
		w.box(name, func() { data(w, text, []byte(t.Value)) })
		return
	}
	w.box("----", func() { // what Apple has no name for
		w.full("mean", 0, 0, func() { w.text("com.apple.iTunes") })
		w.full("name", 0, 0, func() { w.text(strings.ToUpper(t.Name)) })
		data(w, text, []byte(t.Value))
	})
}

func data(w *writer, kind uint32, value []byte) {
	w.full("data", 0, kind, func() { w.u32(0); w.bytes(value) })
}

// list writes the chapters as Nero has them: 255 at most, whose titles have 255 bytes at most.
func (l *layout) list(w *writer) {
	const most, units = 255, 10_000_000 // a second
	w.full("chpl", 1, 0, func() {
		w.u32(0)
		n := min(len(l.Chapters), most)
		w.u8(byte(n)) //nolint:gosec // at most 255
		for i, c := range l.Chapters[:n] {
			begin, _ := l.span(i)
			rate := int64(l.first.Rate)
			w.b = binary.BigEndian.AppendUint64(w.b, uint64(begin/rate*units+begin%rate*units/rate)) //nolint:gosec // never negative
			title := cut(c.Title, most)
			w.u8(byte(len(title))) //nolint:gosec // cut
			w.text(title)
		}
	})
}
