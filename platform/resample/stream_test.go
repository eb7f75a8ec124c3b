package resample_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/resample"
)

func TestPiecesBecomeWhatTheWholeBecomes(t *testing.T) {
	t.Parallel()
	pairs := append([][2]int{{24000, 24000}}, pairs...)
	for _, p := range pairs {
		r, err := resample.New(p[0], p[1])
		require.NoError(t, err)
		rnd := rand.New(rand.NewPCG(uint64(p[0]), uint64(p[1])))
		s := r.Stream()
		for _, n := range []int{0, 1, 2, 47, 5000, 10_001} { // one stream for all: a flush begins anew
			src := make([]int16, n)
			for i := range src {
				src[i] = int16(rnd.Uint32())
			}
			var got []int16
			for rest := src; len(rest) > 0; {
				k := min(len(rest), rnd.IntN(700))
				got = s.Append(got, rest[:k])
				rest = rest[k:]
			}
			got = s.Flush(got)
			require.Len(t, got, r.Len(n), "%v", p)
			require.Equal(t, r.Resample([]int16{}, src), append([]int16{}, got...), "%v, %d samples", p, n)
		}
	}
}
