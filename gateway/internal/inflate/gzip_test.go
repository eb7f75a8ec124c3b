package inflate_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/inflate"
	"github.com/voicemill/voicemill/job"
)

func pack(tb testing.TB, s string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	require.NoError(tb, err)
	require.NoError(tb, z.Close())
	return b.Bytes()
}

func TestWhatWasPackedComesOut(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "x", strings.Repeat("The quick brown fox. ", 1000), strings.Repeat("x", 60<<10)} {
		got, err := inflate.Gzip(pack(t, s), inflate.DefaultLimits())
		require.NoError(t, err)
		require.Equal(t, s, string(got))
	}
}

func TestBombsAndBrokenStreamsAreRefused(t *testing.T) {
	t.Parallel()
	sound := pack(t, strings.Repeat("Hello. ", 100))
	broken := bytes.Clone(sound)
	broken[len(broken)-6]++ // the checksum
	l := inflate.DefaultLimits()
	for name, c := range map[string]struct {
		packed []byte
		want   job.Kind
	}{
		"a bomb":               {pack(t, strings.Repeat("\x00", 1<<20)), job.TooLarge},
		"more than a body may": {pack(t, strings.Repeat("0123456789abcdef\n", 1<<17)), job.TooLarge},
		"nothing":              {nil, job.Invalid},
		"plain text":           {[]byte(`{"input":{}}`), job.Invalid},
		"cut off":              {sound[:len(sound)-1], job.Invalid},
		"a wrong checksum":     {broken, job.Invalid},
		"two streams":          {append(bytes.Clone(sound), sound...), job.Invalid},
		"something after it":   {append(bytes.Clone(sound), 'x'), job.Invalid},
	} {
		_, err := inflate.Gzip(c.packed, l)
		require.Error(t, err, name)
		require.Equal(t, c.want, job.KindOf(err), "%s: %v", name, err)
	}
}

func FuzzGzip(f *testing.F) {
	f.Add(pack(f, "hello"))
	f.Add(pack(f, strings.Repeat("\x00", 100<<10)))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		l := inflate.Limits{Bytes: 64 << 10, Ratio: 10, Floor: 1 << 10}
		out, err := inflate.Gzip(packed, l)
		if err == nil && int64(len(out)) > max(l.Floor, l.Ratio*int64(len(packed))) {
			t.Errorf("%d bytes became %d", len(packed), len(out))
		}
	})
}
