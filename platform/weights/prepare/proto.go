package prepare

import "encoding/binary"

// The ways in which protobuf writes a value.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// protoField is one field of a message as it stands there.
type protoField struct {
	number int
	raw    []byte // all of it
	body   []byte // of wireBytes
}

// eachField calls do for every field of the message b.
func eachField(b []byte, do func(protoField) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errModel
		}
		f := protoField{number: int(tag >> 3)} //nolint:gosec // compared only
		switch tag & 7 {
		case wireVarint:
			_, m := binary.Uvarint(b[n:])
			if m <= 0 {
				return errModel
			}
			n += m
		case wireFixed8:
			n += 8
		case wireFixed4:
			n += 4
		case wireBytes:
			size, m := binary.Uvarint(b[n:])
			if m <= 0 || size > uint64(len(b)-n-m) { //nolint:gosec // not negative
				return errModel
			}
			n += m
			f.body = b[n : n+int(size)] //nolint:gosec // fits b
			n += int(size)              //nolint:gosec // fits b
		default:
			return errModel
		}
		if n > len(b) {
			return errModel
		}
		f.raw, b = b[:n], b[n:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}

func appendBytes(b []byte, number int, body []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireBytes) //nolint:gosec // a field's number
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

func appendVarint(b []byte, number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number)<<3), value) //nolint:gosec // a field's number
}
