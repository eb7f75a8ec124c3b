package encode

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame is one of 96 kbit/s at 44.1 kHz, of 313 or 314 bytes.
func frame(padded bool) []byte {
	b := []byte{0xff, 0xfb, 0x70, 0xc4}
	n := 313
	if padded {
		b[2] |= 2
		n++
	}
	return append(b, make([]byte, n-len(b))...)
}

func TestFramesAreCountedHoweverTheyCome(t *testing.T) {
	t.Parallel()
	raw := bytes.Join([][]byte{frame(true), frame(false), frame(true), frame(true)}, nil)
	for _, piece := range []int{1, 3, 4, 313, 314, len(raw)} {
		var out bytes.Buffer
		f := &frames{w: &out}
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{bytes.NewReader(raw)}, make([]byte, piece))
		require.NoError(t, err)
		require.Equal(t, int64(4), f.n, "%d bytes at a time", piece)
		require.Zero(t, f.left)
		require.Equal(t, raw, out.Bytes())
	}
	require.ErrorContains(t, part{bytes: int64(len(raw)), frames: 5}.copy(io.Discard, bytes.NewReader(raw)), "4 whole frames; want 5")
	require.ErrorContains(t, part{bytes: int64(len(raw)) - 1, frames: 4}.copy(io.Discard, bytes.NewReader(raw)), "4 whole frames")
	require.ErrorContains(t, part{bytes: int64(len(raw)) + 1, frames: 4}.copy(io.Discard, bytes.NewReader(raw)), "bytes of packets")
	require.ErrorContains(t, part{at: 1, bytes: int64(len(raw)) - 1, frames: 4}.copy(io.Discard, bytes.NewReader(raw)), "is none")
}

func FuzzFrames(f *testing.F) {
	f.Add(append([]byte("ID3\x04\x00\x00\x00\x00\x00\x00"), frame(true)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if n := id3Size(raw); n < 0 {
			t.Errorf("id3Size(%x) = %d", raw, n)
		}
		if n := frameSize(raw); n < 0 || n > 1441 {
			t.Errorf("frameSize(%x) = %d", raw, n)
		}
		var out bytes.Buffer
		counted := &frames{w: &out}
		if n, err := counted.Write(raw); err == nil {
			require.Equal(t, len(raw), n)
			require.True(t, bytes.Equal(raw, out.Bytes()))
		}
	})
}
