package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Version changes whenever a frame does.
const Version = 1

// MaxFrame limits the length that a frame announces. A second of audio fits
// twenty times; longer audio takes several frames.
const MaxFrame = 1 << 20

const eventBytes = 1 + 4 + 4 + 8

// ErrProtocol is wrapped by every error about bytes that are not this protocol.
var ErrProtocol = errors.New("not the helper protocol")

// Type says what a frame holds.
type Type byte

// The types of frame.
const (
	TypeHello   Type = 'h'
	TypeRequest Type = 'q'
	TypeAudio   Type = 'a'
	TypeEvents  Type = 'e'
	TypeDone    Type = 'd'
)

// Hello is the helper's first frame.
type Hello struct {
	Version int    `json:"version"`
	Rate    int    `json:"rate"`    // Hz of all audio to come
	Library string `json:"library"` // what speaks, and its version
}

// Request asks for one text. What Body holds is settled between a driver and its
// helper.
type Request[Body any] struct {
	ID   uint64 `json:"id"` // chosen by the worker, repeated in Done
	Body Body   `json:"body"`
}

// Code says how a request ended.
type Code string

// The codes of a Done.
const (
	CodeOK    Code = "ok"
	CodeVoice Code = "voice" // the library does not have the voice
	CodeLimit Code = "limit" // the audio was longer than the helper allows
	CodeSynth Code = "synth" // the library reported a failure
)

// Done ends the answer to a request.
type Done struct {
	ID      uint64 `json:"id"`
	Samples int64  `json:"samples"` // how many the audio frames held
	Code    Code   `json:"code"`
	Detail  string `json:"detail,omitempty"`
}

// EventKind says what begins at an Event.
type EventKind uint8

// The kinds of event that are sent.
const (
	EventWord     EventKind = 1
	EventSentence EventKind = 2
)

// Event is one time mark, as the library reports it. What Position counts is
// settled between a driver and its helper.
type Event struct {
	Kind     EventKind
	Position uint32 // where in the request, counted from 1: a character, or a sentence
	Length   uint32 // characters; 0 for a sentence
	Sample   int64
}

// AppendEvent appends e's 17 bytes to b.
func AppendEvent(b []byte, e Event) []byte {
	b = append(b, byte(e.Kind))
	b = binary.BigEndian.AppendUint32(b, e.Position)
	b = binary.BigEndian.AppendUint32(b, e.Length)
	return binary.BigEndian.AppendUint64(b, uint64(max(e.Sample, 0)))
}

// DecodeEvents appends the events of an events frame to dst.
func DecodeEvents(dst []Event, body []byte) ([]Event, error) {
	if len(body)%eventBytes != 0 {
		return dst, fmt.Errorf("events frame of %d bytes: %w", len(body), ErrProtocol)
	}
	for ; len(body) > 0; body = body[eventBytes:] {
		e := Event{
			Kind:     EventKind(body[0]),
			Position: binary.BigEndian.Uint32(body[1:]),
			Length:   binary.BigEndian.Uint32(body[5:]),
			Sample:   int64(binary.BigEndian.Uint64(body[9:])), //nolint:gosec // negative is refused below
		}
		if (e.Kind != EventWord && e.Kind != EventSentence) || e.Sample < 0 {
			return dst, fmt.Errorf("event of kind %d at sample %d: %w", e.Kind, e.Sample, ErrProtocol)
		}
		dst = append(dst, e)
	}
	return dst, nil
}

// DecodeSamples appends the samples of an audio frame to dst.
func DecodeSamples(dst []int16, body []byte) ([]int16, error) {
	if len(body)%2 != 0 {
		return dst, fmt.Errorf("audio frame of %d bytes: %w", len(body), ErrProtocol)
	}
	n := len(dst)
	dst = slices.Grow(dst, len(body)/2)[:n+len(body)/2]
	for i := range dst[n:] {
		dst[n+i] = int16(binary.LittleEndian.Uint16(body[2*i:])) //nolint:gosec // the same 16 bits
	}
	return dst, nil
}

// DecodeJSON decodes the body of a hello, request or done frame into v.
func DecodeJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

// Writer writes frames. It is not safe for concurrent use.
type Writer struct {
	w      *bufio.Writer
	header [5]byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Write buffers one frame; body is not kept. A body that does not fit a frame
// is an error and nothing is written.
func (w *Writer) Write(t Type, body []byte) error {
	n := len(body) + 1
	if n > MaxFrame {
		return fmt.Errorf("frame of %d bytes: more than %d: %w", n, MaxFrame, ErrProtocol)
	}
	binary.BigEndian.PutUint32(w.header[:], uint32(n)) //nolint:gosec // at most MaxFrame
	w.header[4] = byte(t)
	if _, err := w.w.Write(w.header[:]); err != nil {
		return err
	}
	_, err := w.w.Write(body)
	return err
}

// WriteJSON buffers one frame with v as JSON.
func (w *Writer) WriteJSON(t Type, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %c frame: %w", t, err)
	}
	return w.Write(t, body)
}

// Flush sends what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }

// Reader reads frames. It holds at most MaxFrame bytes and is not safe for
// concurrent use.
type Reader struct {
	r    *bufio.Reader
	body []byte
}

// NewReader returns a Reader from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next frame. body is valid until the next call. The error is
// io.EOF between frames, io.ErrUnexpectedEOF within one, or wraps ErrProtocol.
func (r *Reader) Next() (t Type, body []byte, err error) {
	var header [4]byte
	if _, err := io.ReadFull(r.r, header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(header[:]))
	if n < 1 || n > MaxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes: %w", n, ErrProtocol)
	}
	if cap(r.body) < n {
		r.body = make([]byte, max(n, min(2*cap(r.body), MaxFrame)))
	}
	r.body = r.body[:n]
	if _, err := io.ReadFull(r.r, r.body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	t = Type(r.body[0])
	switch t {
	case TypeHello, TypeRequest, TypeAudio, TypeEvents, TypeDone:
		return t, r.body[1:], nil
	}
	return 0, nil, fmt.Errorf("frame of type %#x: %w", byte(t), ErrProtocol)
}
