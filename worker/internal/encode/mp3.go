package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/store"
)

const (
	id3Head    = 10      // bytes before what a file says of itself
	frameHead  = 4       // bytes
	frameBytes = 144     // samples of a frame by the bits of a byte
	someFrames = 8 << 10 // of bytes, some twenty frames
)

// layMP3 lays out a book. What it says of itself, its chapters among it, ffmpeg writes
// before the first frames; of those all come from the chapters' files.
func layMP3(ctx context.Context, w *work, chapters []store.EncodedChapter, marks []mark) (*bound, error) {
	b := &bound{}
	var first []byte
	for i, c := range chapters {
		p, frames, err := w.firstFrames(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("chapter %d: %w", c.Ordinal, err)
		}
		if i == 0 {
			first = frames
		}
		b.parts = append(b.parts, p.copy)
		b.samples += c.CodedSamples
		b.size += p.bytes
	}
	head, err := w.id3(ctx, first, marks)
	if err != nil {
		return nil, err
	}
	b.size += int64(len(head))
	b.head = func(out io.Writer) error {
		_, err := out.Write(head)
		return err
	}
	return b, nil
}

// firstFrames tells where the frames of a chapter's file begin that have sound, and
// returns some of these.
func (w *work) firstFrames(ctx context.Context, c store.EncodedChapter) (p part, some []byte, err error) {
	said, err := w.stretch(ctx, c, 0, id3Head)
	if err != nil {
		return p, nil, err
	}
	at := id3Size(said)
	some, err = w.stretch(ctx, c, at, someFrames)
	if err != nil {
		return p, nil, err
	}
	n := frameSize(some)
	if n == 0 || n > len(some) {
		return p, nil, errors.New("no frame follows what it says of itself")
	}
	if about := some[:n]; bytes.Contains(about, []byte("Info")) || bytes.Contains(about, []byte("Xing")) {
		at, some = at+int64(n), some[n:] // LAME's frame about the others
	}
	return part{at: at, bytes: c.Bytes - at, frames: c.CodedSamples / mp3Packet}, some, nil
}

// stretch reads n bytes of a chapter's file, or what there is.
func (w *work) stretch(ctx context.Context, c store.EncodedChapter, at, n int64) ([]byte, error) {
	body, _, err := w.deps.Blob.Get(ctx, c.ObjectKey, blob.GetOptions{Offset: at, Length: n})
	if err != nil {
		return nil, w.gone(err)
	}
	defer body.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(body, n))
}

// id3Size is how long what a file says of itself is; 0 if it says nothing.
func id3Size(b []byte) int64 {
	if len(b) < id3Head || string(b[:3]) != "ID3" {
		return 0
	}
	size := int64(0)
	for _, v := range b[6:id3Head] {
		size = size<<7 | int64(v&0x7f)
	}
	return id3Head + size
}

// frameSize returns the size of the frame that b begins with; 0 if that is none of layer III.
func frameSize(b []byte) int {
	if len(b) < frameHead || b[0] != 0xff || b[1]&0xfe != 0xfa { // MPEG-1, layer III
		return 0
	}
	paces := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	rates := [...]int{44_100, 48_000, 32_000, 0}
	pace, rate := paces[b[2]>>4]*1000, rates[b[2]>>2&3]
	if pace == 0 || rate == 0 {
		return 0
	}
	return frameBytes*pace/rate + int(b[2]>>1&1)
}

// frames counts the frames that go through it.
type frames struct {
	w    io.Writer
	n    int64
	left int    // bytes of the last one that are to come
	head []byte // of the next one, if it came in pieces
}

// Write implements [io.Writer].
func (f *frames) Write(p []byte) (int, error) {
	for b := p; len(b) > 0; {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left, b = f.left-n, b[n:]
			continue
		}
		n := min(frameHead-len(f.head), len(b))
		f.head, b = append(f.head, b[:n]...), b[n:]
		if len(f.head) < frameHead {
			break
		}
		size := frameSize(f.head)
		if size == 0 {
			return 0, fmt.Errorf("frame %d is none: %x", f.n+1, binary.BigEndian.Uint32(f.head))
		}
		f.n, f.left, f.head = f.n+1, size-frameHead, f.head[:0]
	}
	return f.w.Write(p)
}

// id3 has ffmpeg write what the book says of itself.
func (w *work) id3(ctx context.Context, some []byte, marks []mark) ([]byte, error) {
	said, err := w.say(metadata(append(book(w.Encoding), tag{"title", w.name()}), marks))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(w.dir, "head.mp3")
	args := slices.Concat(inputs(said, "-f", "mp3", "-i", "pipe:0"), w.cover.input(),
		[]string{"-map", "0:a", "-map_metadata", "1", "-map_chapters", "1", "-c", "copy"}, w.cover.output(),
		[]string{"-id3v2_version", "4", "-write_xing", "0", "-f", "mp3"})
	if err := w.deps.Program.Run(ctx, bytes.NewReader(some), nil, w.exact(args, path)...); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path) //nolint:gosec // a file of ours
	if err != nil {
		return nil, err
	}
	n := id3Size(raw)
	if n == 0 || n > int64(len(raw)) {
		return nil, errors.New("nothing is said before its frames")
	}
	return raw[:n], nil
}
