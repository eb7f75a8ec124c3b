package http1

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEightBytesAtATimeAreJudgedAsOneByOne(t *testing.T) {
	t.Parallel()
	b := make([]byte, 17)
	for at := range b {
		for c := range 256 {
			for _, other := range []byte{'a', ' ', '\t', 0x80, 0xff, '~'} {
				for i := range b {
					b[i] = other
				}
				b[at] = byte(c)
				if all(b, isValue) != allValue(b) || all(b[:at+1], isValue) != allValue(b[:at+1]) {
					require.Failf(t, "not judged alike", "%q", b)
				}
			}
		}
	}
}
