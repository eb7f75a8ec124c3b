package ogg_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/ogg"
)

// sound is an Opus file of so many seconds, as ffmpeg makes it.
func sound(t *testing.T, seconds, words string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=300:sample_rate=48000:duration="+seconds,
		"-metadata", "comment="+words, "-c:a", "libopus", "-b:a", "32k", "-f", "ogg", "pipe:1").Output()
	require.NoError(t, err)
	return out
}

// length is how many samples a player plays of a file, and how many packets it has.
func length(t *testing.T, raw []byte) (samples, packets int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "book.opus")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-i", path, "-f", "s16le", "-ac", "1", "pipe:1").CombinedOutput()
	require.NoError(t, err)
	said, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", path).Output()
	require.NoError(t, err)
	packets, err = strconv.Atoi(strings.TrimSpace(string(said)))
	require.NoError(t, err)
	return len(out) / 2, packets
}

func TestABookIsThePacketsOfItsChapters(t *testing.T) {
	t.Parallel()
	a, b := sound(t, "2.5", "short"), sound(t, "1.3", strings.Repeat("long ", 20_000))
	_, inA := length(t, a)
	_, inB := length(t, b)
	var out bytes.Buffer
	heads := make([]ogg.Head, 2)
	for i, raw := range [][]byte{a, b} {
		var err error
		heads[i], err = ogg.ReadHead(bytes.NewReader(raw))
		require.NoError(t, err)
		require.Equal(t, heads[0].Opus, heads[i].Opus)
	}
	head, n := ogg.HeadOf(heads[0].Opus, []ogg.Comment{{Name: "title", Value: strings.Repeat("x", 255*255+3)}, {Name: "CHAPTER001", Value: "00:00:00.000"}})
	out.Write(head)
	book := ogg.NewBook(&out, n)
	for i, raw := range [][]byte{a, b} {
		require.NoError(t, book.Add(bytes.NewReader(raw[heads[i].Bytes:]), int64(len(raw))-heads[i].Bytes, int64([]int{inA, inB}[i]*960), i == 1))
	}
	require.Equal(t, int64(len(head))+int64(len(a))-heads[0].Bytes+int64(len(b))-heads[1].Bytes, int64(out.Len()))
	samples, packets := length(t, out.Bytes())
	require.Equal(t, inA+inB, packets)
	require.Equal(t, inA*960+48_000*13/10, samples, "the encoder's samples are left out once, as is the end of the last packet")
	again, err := ogg.ReadHead(bytes.NewReader(out.Bytes()))
	require.NoError(t, err)
	require.Equal(t, int64(len(head)), again.Bytes)
}

// A bucket that is away is not a file that is broken.
func TestWhyAFileCannotBeReadIsKept(t *testing.T) {
	t.Parallel()
	head, n := ogg.HeadOf([]byte("OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), []ogg.Comment{{Name: "title", Value: strings.Repeat("x", 1000)}})
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		away := &job.Error{Op: "test", Kind: job.Unavailable, Err: cause}
		for at := range head {
			_, err := ogg.ReadHead(io.MultiReader(bytes.NewReader(head[:at]), iotest.ErrReader(away)))
			require.ErrorIs(t, err, away, "after %d bytes", at)
			err = ogg.NewBook(io.Discard, n).Add(io.MultiReader(bytes.NewReader(head[:at]), iotest.ErrReader(away)), int64(len(head)), 0, true)
			require.ErrorIs(t, err, away, "after %d bytes", at)
		}
	}
	_, err := ogg.ReadHead(bytes.NewReader(head[:len(head)-1]))
	require.Equal(t, job.Internal, job.KindOf(err))
}

func FuzzHead(f *testing.F) {
	head, _ := ogg.HeadOf([]byte("OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), []ogg.Comment{{Name: "title", Value: strings.Repeat("x", 70_000)}})
	f.Add(head)
	f.Add([]byte("OggS"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := ogg.ReadHead(bytes.NewReader(raw))
		if err != nil {
			return
		}
		require.LessOrEqual(t, h.Bytes, int64(len(raw)))
		var out bytes.Buffer
		rest := raw[h.Bytes:]
		if err := ogg.NewBook(&out, 2).Add(bytes.NewReader(rest), int64(len(rest)), 960, true); err == nil {
			require.Equal(t, len(rest), out.Len())
		}
	})
}
