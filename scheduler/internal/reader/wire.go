package reader

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

const (
	partSegments = 256
	maxMessage   = 8 << 20 // a part has up to 256 segments of a few kilobytes
	maxRead      = 1 << 20 // bytes of the upload in one answer
)

var (
	errMessage = errors.New("message is longer than any can be")
	errUpload  = errors.New("the upload cannot be read") // what the child makes of it does not matter, the parent knows better
)

// request is what the child reads first.
type request struct {
	Size              int64             `json:"size"`
	Media             string            `json:"media"`
	Language          string            `json:"language,omitempty"`
	MaxSegmentSeconds float64           `json:"max_segment_seconds,omitempty"`
	Speed             float64           `json:"speed"` // of speech; 1 is normal
	Limits            manuscript.Limits `json:"limits"`
	CPUSeconds        uint64            `json:"cpu_seconds"` // when the kernel ends the child
	Cover             bool              `json:"cover,omitempty"`
}

// message is what a child says: exactly one of its fields is set.
type message struct {
	Read   *span   `json:"read,omitempty"`
	Opened *opened `json:"opened,omitempty"`
	Part   *Part   `json:"part,omitempty"`
	End    *fault  `json:"end,omitempty"`
}

type span struct {
	Offset int64 `json:"offset"`
	N      int   `json:"n"`
}

type opened struct {
	About    job.Metadata `json:"about"`
	Language string       `json:"language"`
	Cover    []byte       `json:"cover,omitempty"` // a picture of up to job.MaxCoverBytes
}

// Part is a piece of a chapter.
type Part struct {
	Title    string
	Matter   manuscript.Matter
	Segments []manuscript.Segment // at least one
	More     bool                 // the chapter goes on in the next part
}

// fault is why reading ended; the zero value for the end of the document.
type fault struct {
	Kind   job.Kind `json:"kind,omitempty"`
	Public string   `json:"public,omitempty"`
	Detail string   `json:"detail,omitempty"`
}

func faultOf(err error) *fault {
	if err == nil {
		return &fault{}
	}
	return &fault{Kind: job.KindOf(err), Public: job.PublicOf(err, ""), Detail: err.Error()}
}

func (f *fault) err() error {
	if f.Detail == "" {
		return nil
	}
	return &job.Error{Op: "reader", Kind: f.Kind, Public: f.Public, Err: errors.New(f.Detail)}
}

// send writes v behind its length.
func send(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))) //nolint:gosec // far below 4 GiB
	_, err = w.Write(append(b, body...))
	return err
}

// receive reads what send wrote, and says how many bytes that took.
func receive(r io.Reader, v any) (int64, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, io.EOF
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > maxMessage {
		return 0, fmt.Errorf("%d bytes: %w", n, errMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, io.EOF // in the middle or not: it has ended
	}
	return n + 4, json.Unmarshal(body, v)
}

// answer writes the n bytes behind the first four of b, which a child asked for;
// n < 0 if they cannot be read.
func answer(w io.Writer, b []byte, n int) error {
	binary.BigEndian.PutUint32(b, uint32(int32(n))) //nolint:gosec // at most maxRead
	_, err := w.Write(b[:4+max(n, 0)])
	return err
}

// remote is the upload as a child sees it.
type remote struct {
	in  io.Reader
	out io.Writer
}

// ReadAt implements io.ReaderAt.
func (r *remote) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		ask := p[n:min(len(p), n+maxRead)]
		if err := send(r.out, message{Read: &span{Offset: off + int64(n), N: len(ask)}}); err != nil {
			return n, err
		}
		var head [4]byte
		if _, err := io.ReadFull(r.in, head[:]); err != nil {
			return n, err
		}
		got := int(int32(binary.BigEndian.Uint32(head[:]))) //nolint:gosec // it was an int32
		if got < 0 || got > len(ask) {
			return n, errUpload
		}
		if _, err := io.ReadFull(r.in, ask[:got]); err != nil {
			return n, err
		}
		if n += got; got < len(ask) {
			return n, io.EOF
		}
	}
	return n, nil
}
