package wav_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/wav"
)

func le16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func file(id string, riff uint32, chunks ...[]byte) []byte {
	return slices.Concat([]byte(id), le32(riff), []byte("WAVE"), slices.Concat(chunks...))
}

func chunk(id string, size uint32, body ...[]byte) []byte {
	return slices.Concat([]byte(id), le32(size), slices.Concat(body...))
}

func format(tag, channels uint16, rate uint32, bits uint16) []byte {
	align := channels * bits / 8
	return chunk("fmt ", 16, le16(tag), le16(channels), le32(rate), le32(rate*uint32(align)), le16(align), le16(bits))
}

func ds64(data uint64) []byte { return chunk("ds64", 28, le64(0), le64(data), le64(0), le32(0)) }

var (
	mono   = format(1, 1, 24000, 16)
	stereo = format(1, 2, 24000, 16)
	three  = []byte{1, 0, 2, 0, 3, 0}
)

func TestDecodeUnderstandsWhatEncodersWrite(t *testing.T) {
	t.Parallel()
	extensible := chunk("fmt ", 40, mono[8:8], le16(0xFFFE), le16(1), le32(24000), le32(48000), le16(2), le16(16),
		le16(22), le16(16), le32(4), le16(1), []byte("\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"))
	for name, c := range map[string]struct {
		file []byte
		want []int16
	}{
		"a plain file":                      {file("RIFF", 42, mono, chunk("data", 6, three)), []int16{1, 2, 3}},
		"no samples":                        {file("RIFF", 36, mono, chunk("data", 0)), []int16{}},
		"a LIST chunk before the data":      {file("RIFF", 0, mono, chunk("LIST", 4, []byte("INFO")), chunk("data", 6, three)), []int16{1, 2, 3}},
		"an odd chunk with its padding":     {file("RIFF", 0, chunk("JUNK", 3, []byte("abc\x00")), mono, chunk("data", 6, three)), []int16{1, 2, 3}},
		"a chunk after the data":            {file("RIFF", 0, mono, chunk("data", 6, three), chunk("id3 ", 4, []byte("abcd"))), []int16{1, 2, 3}},
		"the largest number for unknown":    {file("RIFF", math.MaxUint32, mono, chunk("data", math.MaxUint32, three)), []int16{1, 2, 3}},
		"the largest number less a header":  {file("RIFF", math.MaxUint32, mono, chunk("data", math.MaxUint32-36, three)), []int16{1, 2, 3}},
		"what espeak-ng writes for unknown": {file("RIFF", 0x7ffff024, mono, chunk("data", 0x7ffff000, three)), []int16{1, 2, 3}},
		"zero sizes for unknown":            {file("RIFF", 0, mono, chunk("data", 0, three)), []int16{1, 2, 3}},
		"unknown and nothing there":         {file("RIFF", math.MaxUint32, mono, chunk("data", math.MaxUint32)), []int16{}},
		"RF64":                              {file("RF64", math.MaxUint32, ds64(6), mono, chunk("data", math.MaxUint32, three)), []int16{1, 2, 3}},
		"BW64":                              {file("BW64", math.MaxUint32, ds64(6), mono, chunk("data", math.MaxUint32, three)), []int16{1, 2, 3}},
		"RF64 with a plain size":            {file("RF64", math.MaxUint32, ds64(99), mono, chunk("data", 6, three)), []int16{1, 2, 3}},
		"RF64 of unknown size":              {file("RF64", math.MaxUint32, ds64(math.MaxUint64), mono, chunk("data", math.MaxUint32, three)), []int16{1, 2, 3}},
		"an extensible format that is PCM":  {file("RIFF", 0, extensible, chunk("data", 6, three)), []int16{1, 2, 3}},
		"stereo":                            {file("RIFF", 0, stereo, chunk("data", 8, le16(10), le16(20), le16(0x8000), le16(0x8000))), []int16{15, -32768}},
		"stereo of unknown size":            {file("RIFF", 0, stereo, chunk("data", math.MaxUint32, le16(0x7fff), le16(0x7fff))), []int16{32767}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{bytes.NewReader(c.file), iotest.OneByteReader(bytes.NewReader(c.file)), iotest.DataErrReader(bytes.NewReader(c.file))} {
				rate, samples, err := wav.Decode(r, 100)
				require.NoError(t, err)
				require.Equal(t, 24000, rate)
				require.Equal(t, c.want, samples)
			}
		})
	}
}

func TestDecodeRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":                       {nil, wav.ErrTruncated},
		"JSON":                          {[]byte(`{"error": {"code": 500}}`), wav.ErrFormat},
		"an MP3":                        {[]byte("ID3\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), wav.ErrFormat},
		"an AVI":                        {[]byte("RIFF\x00\x00\x00\x00AVI LIST"), wav.ErrFormat},
		"floats":                        {file("RIFF", 0, format(3, 1, 24000, 32), chunk("data", 6, three)), wav.ErrFormat},
		"24 bits":                       {file("RIFF", 0, format(1, 1, 24000, 24), chunk("data", 6, three)), wav.ErrFormat},
		"8 bits":                        {file("RIFF", 0, format(1, 1, 24000, 8), chunk("data", 6, three)), wav.ErrFormat},
		"no channels":                   {file("RIFF", 0, format(1, 0, 24000, 16), chunk("data", 6, three)), wav.ErrFormat},
		"nine channels":                 {file("RIFF", 0, format(1, 9, 24000, 16), chunk("data", 6, three)), wav.ErrFormat},
		"a rate of zero":                {file("RIFF", 0, format(1, 1, 0, 16), chunk("data", 6, three)), wav.ErrFormat},
		"data before the format":        {file("RIFF", 0, chunk("data", 6, three), mono), wav.ErrFormat},
		"no data chunk":                 {file("RIFF", 0, mono), wav.ErrTruncated},
		"two formats":                   {file("RIFF", 0, mono, mono, chunk("data", 6, three)), wav.ErrFormat},
		"a format chunk of two bytes":   {file("RIFF", 0, chunk("fmt ", 2, le16(1))), wav.ErrFormat},
		"a format chunk of a gigabyte":  {file("RIFF", 0, chunk("fmt ", 1<<30)), wav.ErrFormat},
		"blocks that are not samples":   {file("RIFF", 0, chunk("fmt ", 16, le16(1), le16(1), le32(24000), le32(48000), le16(4), le16(16)), chunk("data", 6, three)), wav.ErrFormat},
		"half a sample announced":       {file("RIFF", 0, mono, chunk("data", 5, three)), wav.ErrFormat},
		"half a sample without a size":  {file("RIFF", 0, mono, chunk("data", math.MaxUint32, three[:5])), wav.ErrTruncated},
		"half a stereo block":           {file("RIFF", 0, stereo, chunk("data", math.MaxUint32, three)), wav.ErrTruncated},
		"less data than announced":      {file("RIFF", 0, mono, chunk("data", 8, three)), wav.ErrTruncated},
		"no data where it is announced": {file("RIFF", 0, mono, chunk("data", 8)), wav.ErrTruncated},
		"RF64 with less data":           {file("RF64", 0, ds64(8), mono, chunk("data", math.MaxUint32, three)), wav.ErrTruncated},
		"a short ds64":                  {file("RF64", 0, chunk("ds64", 4, le32(0)), mono), wav.ErrFormat},
		"a skipped chunk past the end":  {file("RIFF", 0, mono, chunk("LIST", 1000, three)), wav.ErrTruncated},
		"a skipped gigabyte":            {file("RIFF", 0, mono, chunk("LIST", 1<<30, three)), wav.ErrFormat},
		"chunks without end":            {file("RIFF", 0, mono, bytes.Repeat(chunk("JUNK", 0), 300), chunk("data", 6, three)), wav.ErrFormat},
		"more samples than allowed":     {file("RIFF", 0, mono, chunk("data", 2000, make([]byte, 2000))), wav.ErrTooLong},
		"more without a size":           {file("RIFF", 0, mono, chunk("data", math.MaxUint32, make([]byte, 2000))), wav.ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, samples, err := wav.Decode(bytes.NewReader(c.file), 100)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, samples)
		})
	}
}

func TestDecodeReportsEveryCut(t *testing.T) {
	t.Parallel()
	whole := wav.Encode(24000, ramp(50))
	for cut := range whole {
		_, _, err := wav.Decode(bytes.NewReader(whole[:cut]), 100)
		require.ErrorIsf(t, err, wav.ErrTruncated, "cut at byte %d", cut)
		_, _, err = wav.Decode(io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(io.ErrUnexpectedEOF)), 100)
		require.ErrorIsf(t, err, wav.ErrTruncated, "connection cut at byte %d", cut)
		broken := errors.New("broken")
		_, _, err = wav.Decode(io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken)), 100)
		require.ErrorIsf(t, err, broken, "broken at byte %d", cut)
	}
}

func TestDecodeReadsFilesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "source.wav")
	samples := ramp(30_000)
	require.NoError(t, os.WriteFile(source, wav.Encode(24000, samples), 0o600))
	for name, args := range map[string][]string{
		"ffmpeg to a file":     {"-i", source, "-c", "copy", filepath.Join(dir, "copy.wav")},
		"ffmpeg as RF64":       {"-i", source, "-c", "copy", "-rf64", "always", filepath.Join(dir, "rf64.wav")},
		"ffmpeg to a pipe":     {"-i", source, "-f", "wav", "-"},
		"ffmpeg in stereo":     {"-i", source, "-af", "pan=stereo|c0=c0|c1=c0", filepath.Join(dir, "stereo.wav")},
		"ffmpeg with a title":  {"-i", source, "-metadata", "title=odd", filepath.Join(dir, "title.wav")},
		"ffmpeg without sizes": {"-i", source, "-f", "wav", "-bitexact", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := tool(t, "ffmpeg", append([]string{"-v", "error"}, args...)...)
			if path := args[len(args)-1]; path != "-" {
				var err error
				out, err = os.ReadFile(path)
				require.NoError(t, err)
			}
			rate, got, err := wav.Decode(bytes.NewReader(out), len(samples))
			require.NoError(t, err)
			require.Equal(t, 24000, rate)
			require.Equal(t, samples, got)
		})
	}
	t.Run("espeak-ng to a pipe", func(t *testing.T) {
		t.Parallel()
		out := tool(t, "espeak-ng", "--stdout", "Hello there.")
		rate, got, err := wav.Decode(bytes.NewReader(out), 1<<20)
		require.NoError(t, err)
		require.Equal(t, 22050, rate)
		require.Equal(t, out[len(out)-2*len(got):], wav.AppendSamples(nil, got))
	})
}

func TestReaderUsesConstantMemory(t *testing.T) {
	const seconds = 600
	h := wav.Header(24000, seconds*24000)
	dst := make([]int16, 8192)
	allocated := testing.AllocsPerRun(3, func() {
		r, err := wav.NewReader(io.MultiReader(bytes.NewReader(h), io.LimitReader(zeros{}, seconds*48000)))
		require.NoError(t, err)
		total := 0
		for {
			n, err := r.ReadSamples(dst)
			total += n
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
		require.Equal(t, seconds*24000, total)
	})
	require.Less(t, allocated, 30.0)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzDecode(f *testing.F) {
	f.Add(wav.Encode(24000, ramp(20)))
	f.Add(file("RIFF", 0x7ffff024, mono, chunk("data", 0x7ffff000, three)))
	f.Add(file("RF64", math.MaxUint32, ds64(6), mono, chunk("data", math.MaxUint32, three)))
	f.Add(file("RIFF", 0, chunk("JUNK", 3, []byte("abc\x00")), stereo, chunk("data", 8, three)))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 4096
		rate, samples, err := wav.Decode(bytes.NewReader(b), limit)
		if err != nil {
			if samples != nil {
				t.Fatal("samples beside an error")
			}
			if !errors.Is(err, wav.ErrFormat) && !errors.Is(err, wav.ErrTruncated) && !errors.Is(err, wav.ErrTooLong) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(samples) > limit || len(samples)*2 > len(b) {
			t.Fatalf("%d samples of %d bytes", len(samples), len(b))
		}
		again, same, err := wav.Decode(bytes.NewReader(wav.Encode(rate, samples)), limit)
		if err != nil || again != rate || !slices.Equal(same, samples) {
			t.Fatalf("does not survive a round trip: %v", err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	f := wav.Encode(24000, ramp(15*24000))
	b.SetBytes(int64(len(f)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := wav.Decode(bytes.NewReader(f), 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	samples := ramp(15 * 24000)
	b.SetBytes(wav.FileSize(int64(len(samples))))
	b.ReportAllocs()
	for b.Loop() {
		wav.Encode(24000, samples)
	}
}
