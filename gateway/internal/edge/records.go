package edge

import "encoding/binary"

// recordHead is the size of the head of a TLS record: a type, a version and the
// length of the rest.
const recordHead = 5

// records follows a stream of TLS records to find where each of them ends. It
// judges nothing: whoever reads the records refuses those that are none.
type records struct {
	head [recordHead]byte
	have int // bytes of head that were seen
	left int // bytes of the rest that were not
}

// next returns how much of data, most at most, belongs to the record under way,
// and counts it as seen.
func (r *records) next(data []byte, most int) int {
	n := 0
	data = data[:min(len(data), most)]
	if r.have < recordHead {
		n = copy(r.head[r.have:], data)
		if r.have += n; r.have < recordHead {
			return n
		}
		r.left = int(binary.BigEndian.Uint16(r.head[recordHead-2:]))
	}
	rest := min(r.left, len(data)-n)
	if r.left -= rest; r.left == 0 {
		r.have = 0
	}
	return n + rest
}
