// Package frame is the binary carrier's framing as pure code: a big-endian
// uint32 length and a voicemill.v1.Frame of that many bytes. It owns no socket.
// The messages and their meaning are in api/proto/voicemill/v1/frame.proto.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/voicemillv1"
)

// Preface is what a client sends first on a raw connection.
const Preface = "VML1"

// MaxBytes is the largest frame, without its length.
const MaxBytes = 1 << 20

const lengthBytes = 4

var (
	// ErrTooLarge says that a frame announced more than the limit. The
	// connection cannot go on: where the next frame starts is unknown.
	ErrTooLarge = errors.New("the frame is larger than the limit")

	// ErrMalformed says that a frame's bytes are not a voicemill.v1.Frame, or
	// one without a body.
	ErrMalformed = errors.New("the frame is not a voicemill.v1.Frame")
)

// Parse takes one frame from the start of b into f, which it resets, and
// returns the bytes used; 0 while b is too short. limit bounds the announced
// length in bytes. f keeps no part of b.
func Parse(f *voicemillv1.Frame, b []byte, limit int) (n int, err error) {
	if len(b) < lengthBytes {
		return 0, nil
	}
	size := binary.BigEndian.Uint32(b)
	if int64(size) > int64(limit) {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, limit)
	}
	n = lengthBytes + int(size)
	if len(b) < n {
		return 0, nil
	}
	if err := Unmarshal(f, b[lengthBytes:n]); err != nil {
		return 0, err
	}
	return n, nil
}

// Unmarshal reads a frame without a length, as WebSocket carries it.
func Unmarshal(f *voicemillv1.Frame, b []byte) error {
	if err := proto.Unmarshal(b, f); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if f.GetBody() == nil {
		return fmt.Errorf("%w: it has no body", ErrMalformed)
	}
	return nil
}

// Append appends f with its length to dst. A frame over [MaxBytes] is refused
// with [ErrTooLarge] and dst is returned as it was.
func Append(dst []byte, f *voicemillv1.Frame) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, f)
	if err != nil {
		return dst[:start], fmt.Errorf("marshal a frame: %w", err)
	}
	size := len(dst) - start - lengthBytes
	if size > MaxBytes {
		return dst[:start], fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxBytes)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size)) //nolint:gosec // at most MaxBytes
	return dst, nil
}
