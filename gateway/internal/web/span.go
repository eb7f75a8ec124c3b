package web

import (
	"bytes"
	"strconv"
	"strings"
)

// span is a part of an object: length bytes from offset on.
type span struct{ offset, length int64 }

// field is the value of Content-Range for an object of size bytes.
func (s span) field(size int64) string {
	return "bytes " + strconv.FormatInt(s.offset, 10) + "-" + strconv.FormatInt(s.offset+s.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// rangeVerdict is what a Range field comes to.
type rangeVerdict uint8

const (
	rangeNone  rangeVerdict = iota // the whole is asked for, or what cannot be given as one part
	rangePart                      // one part
	rangeWrong                     // a part that does not overlap the object
)

// parseRange reads a Range field for an object of size bytes: RFC 9110 section
// 14.2. What is malformed, of another unit or of several parts counts as none,
// which that section allows.
func parseRange(field []byte, size int64) (span, rangeVerdict) {
	const unit = "bytes="
	if len(field) < len(unit) || !bytes.EqualFold(field[:len(unit)], []byte(unit)) {
		return span{}, rangeNone
	}
	first, last, dash := strings.Cut(strings.Trim(string(field[len(unit):]), " \t"), "-")
	from, fromOK := position(first)
	to, toOK := position(last)
	switch {
	case !dash || (first != "" && !fromOK) || (last != "" && !toOK) || (!fromOK && !toOK):
		return span{}, rangeNone
	case !fromOK: // the last so many bytes
		n := min(to, size)
		if n == 0 {
			return span{}, rangeWrong
		}
		return span{size - n, n}, rangePart
	case toOK && to < from:
		return span{}, rangeNone
	case from >= size:
		return span{}, rangeWrong
	case !toOK || to >= size:
		to = size - 1
	}
	return span{from, to - from + 1}, rangePart
}

// position reads a number of digits only; one that is too large for an object
// counts as the largest.
func position(s string) (n int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ = strconv.ParseInt(s, 10, 64) // out of range gives the largest
	return n, true
}
