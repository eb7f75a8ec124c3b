package wav_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/wav"
)

// largestPlain is the most samples that fit a plain WAV file.
const largestPlain = (1<<32 - 0x102) / 2

func TestHeaderIsTheCanonical44Bytes(t *testing.T) {
	t.Parallel()
	want := strings.ReplaceAll("52494646 2a000000 57415645 666d7420 10000000 0100 0100 c05d0000 80bb0000 0200 1000 64617461 06000000", " ", "")
	require.Equal(t, want, hex.EncodeToString(wav.Header(24000, 3)))
}

func TestHeaderSizesAgreeWithThemselves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		samples int64
		header  int64
		id      string
	}{
		"nothing":                        {0, 44, "RIFF"},
		"one sample":                     {1, 44, "RIFF"},
		"the largest plain file":         {largestPlain, 44, "RIFF"},
		"the size that espeak-ng writes": {0x7ffff000 / 2, 80, "RF64"},
		"one sample more":                {largestPlain + 1, 80, "RF64"},
		"a hundred hours":                {100 * 3600 * 24000, 80, "RF64"},
		"the most that is allowed":       {wav.MaxSamples, 80, "RF64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := wav.Header(24000, c.samples)
			require.Len(t, h, int(c.header))
			require.Equal(t, c.header, wav.HeaderSize(c.samples))
			require.Equal(t, c.header+2*c.samples, wav.FileSize(c.samples))
			require.Equal(t, c.id, string(h[:4]))
			if c.id == "RIFF" {
				require.EqualValues(t, wav.FileSize(c.samples)-8, binary.LittleEndian.Uint32(h[4:]))
			} else {
				require.EqualValues(t, wav.FileSize(c.samples)-8, binary.LittleEndian.Uint64(h[20:]))
			}
			r, err := wav.NewReader(bytes.NewReader(h))
			require.NoError(t, err)
			n, ok := r.Samples()
			require.True(t, ok)
			require.Equal(t, c.samples, n)
		})
	}
}

func TestHeaderPanicsOnNonsense(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { wav.Header(0, 1) })
	require.Panics(t, func() { wav.Header(24000, -1) })
	require.Panics(t, func() { wav.Header(24000, wav.MaxSamples+1) })
}

func TestAFileOfUnknownLengthIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	samples := ramp(30_000)
	file := wav.AppendSamples(wav.StreamHeader(24000), samples)
	rate, got, err := wav.Decode(bytes.NewReader(file), len(samples))
	require.NoError(t, err)
	require.Equal(t, 24000, rate)
	require.Equal(t, samples, got)
	path := filepath.Join(t.TempDir(), "a.wav")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	require.Equal(t, wav.AppendSamples(nil, samples), tool(t, "ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-"))
}

func TestWriterHoldsToTheAnnouncedCount(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := wav.NewWriter(&b, 24000, 20_001)
	require.NoError(t, err)
	samples := ramp(20_000)
	require.NoError(t, w.WriteSamples(samples))
	require.ErrorIs(t, w.Close(), wav.ErrSampleCount)
	require.ErrorIs(t, w.WriteSamples([]int16{1, 2}), wav.ErrSampleCount)
	require.NoError(t, w.WriteSamples([]int16{1}))
	require.NoError(t, w.Close())
	require.Equal(t, wav.Encode(24000, append(samples, 1)), b.Bytes())
}

func TestFfprobeAcceptsEveryKindOfFile(t *testing.T) {
	t.Parallel()
	for name, samples := range map[string]int64{"plain": 24000, "the largest plain file": largestPlain, "RF64": largestPlain + 1, "RF64 of 30 hours": 30 * 3600 * 24000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.wav")
			require.NoError(t, os.WriteFile(path, wav.Header(24000, samples), 0o600))
			require.NoError(t, os.Truncate(path, wav.FileSize(samples))) // sparse
			got := tool(t, "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "stream=codec_name,sample_rate,channels,duration_ts", path)
			require.Equal(t, fmt.Sprintf("pcm_s16le,24000,1,%d", samples), strings.TrimSpace(string(got)))
		})
	}
}

func TestFfmpegDecodesTheSameSamples(t *testing.T) {
	t.Parallel()
	samples := ramp(50_000)
	path := filepath.Join(t.TempDir(), "a.wav")
	require.NoError(t, os.WriteFile(path, wav.Encode(22050, samples), 0o600))
	got := tool(t, "ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-")
	require.Equal(t, wav.AppendSamples(nil, samples), got)
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoErrorf(t, err, "%s is needed: apt-get install ffmpeg espeak-ng", name)
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%s: %s", name, &stderr)
	require.Empty(t, stderr.String())
	return out
}

// ramp returns n samples that take every value.
func ramp(n int) []int16 {
	samples := make([]int16, n)
	for i := range samples {
		samples[i] = int16(i * 7919)
	}
	return samples
}
