package m4b

import "encoding/binary"

// writer writes boxes within boxes. A later is a box's size that something will be
// added to which is not written here.
type writer struct {
	b     []byte
	later int64 // bytes that are sent behind b, in the boxes that are open now
}

// box writes a box whose content fill writes.
func (w *writer) box(kind string, fill func()) {
	at := len(w.b)
	before := w.later
	w.u32(0)
	w.b = append(w.b, kind...)
	fill()
	binary.BigEndian.PutUint32(w.b[at:], uint32(int64(len(w.b)-at)+w.later-before)) //nolint:gosec // far below 4 GiB: see New
}

// full writes a box with a version and flags.
func (w *writer) full(kind string, version byte, flags uint32, fill func()) {
	w.box(kind, func() {
		w.u32(uint32(version)<<24 | flags)
		fill()
	})
}

func (w *writer) u8(v byte)      { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)   { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)   { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v int64)    { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) } //nolint:gosec // never negative
func (w *writer) zero(n int)     { w.b = append(w.b, make([]byte, n)...) }
func (w *writer) text(s string)  { w.b = append(w.b, s...) }
func (w *writer) bytes(b []byte) { w.b = append(w.b, b...) }

// matrix is the one that leaves a picture as it is.
func (w *writer) matrix() {
	for _, v := range []uint32{1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30} {
		w.u32(v)
	}
}
