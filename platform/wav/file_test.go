package wav_test

import (
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/wav"
)

func TestAFileReadsAsItIsEncoded(t *testing.T) {
	t.Parallel()
	for _, samples := range [][]int16{nil, {1}, {-1, 2, -32768, 32767, 77}} {
		want := wav.Encode(24000, samples)
		f := wav.NewFile(24000, samples)
		require.EqualValues(t, len(want), f.Size())
		require.NoError(t, iotest.TestReader(f, want))
	}
	_, err := wav.NewFile(24000, nil).Seek(-1, io.SeekStart)
	require.Error(t, err)
}

func TestAFileMayBeReadInAnyPieces(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	for range 500 {
		samples := make([]int16, rng.IntN(60))
		for i := range samples {
			samples[i] = int16(rng.Uint32()) //nolint:gosec // any
		}
		want := wav.Encode(8000, samples)
		at := rng.IntN(len(want) + 1)
		f := wav.NewFile(8000, samples)
		_, err := f.Seek(int64(at), io.SeekStart)
		require.NoError(t, err)
		var got []byte
		for f.Len() > 0 {
			p := make([]byte, 1+rng.IntN(50))
			n, err := f.Read(p)
			require.NoError(t, err)
			require.NotZero(t, n)
			got = append(got, p[:n]...)
		}
		require.Equal(t, string(want[at:]), string(got))
	}
}
