package inflate_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
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

// slow yields a byte at a time and fails with err at the end, if that is set.
type slow struct {
	left []byte
	err  error
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.left) == 0 && s.err != nil {
		return 0, s.err
	}
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	p[0], s.left = s.left[0], s.left[1:]
	return 1, nil
}

func TestABodyIsUnpackedWhileItArrives(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "x", strings.Repeat("The quick brown fox. ", 10_000)} {
		l := inflate.Limits{Bytes: 1 << 20, Ratio: 1000, Floor: 1 << 10}
		got, err := io.ReadAll(inflate.NewReader(&slow{left: pack(t, s)}, l))
		require.NoError(t, err)
		require.Equal(t, s, string(got))
	}
	r, w := io.Pipe()
	defer func() { _ = r.Close() }()
	z, packed := inflate.NewReader(r, inflate.DefaultLimits()), gzip.NewWriter(w)
	line := make([]byte, 64)
	for _, want := range []string{"one\n", "two\n"} {
		flushed := make(chan struct{})
		go func() {
			defer close(flushed)
			_, _ = io.WriteString(packed, want)
			_ = packed.Flush()
		}()
		n, err := io.ReadFull(z, line[:len(want)])
		require.NoError(t, err)
		require.Equal(t, want, string(line[:n]), "what was flushed is there before the next comes")
		<-flushed
	}
}

func TestStreamsThatAreBombsOrBrokenEndInTheirError(t *testing.T) {
	t.Parallel()
	sound := pack(t, strings.Repeat("Hello. ", 100))
	broken := bytes.Clone(sound)
	broken[len(broken)-6]++ // the checksum
	left := errors.New("the client left")
	l := inflate.Limits{Bytes: 1 << 20, Ratio: 100, Floor: 64 << 10}
	for name, c := range map[string]struct {
		packed []byte
		cut    error
		want   job.Kind
	}{
		"a bomb":             {pack(t, strings.Repeat("\x00", 1<<20)), nil, job.TooLarge},
		"more than may be":   {pack(t, strings.Repeat("0123456789abcdef\n", 1<<17)), nil, job.TooLarge},
		"nothing":            {nil, nil, job.Invalid},
		"plain text":         {[]byte(`{"input":{}}`), nil, job.Invalid},
		"cut off":            {sound[:len(sound)-1], nil, job.Invalid},
		"a wrong checksum":   {broken, nil, job.Invalid},
		"two streams":        {append(bytes.Clone(sound), sound...), nil, job.Invalid},
		"something after it": {append(bytes.Clone(sound), 'x'), nil, job.Invalid},
	} {
		z := inflate.NewReader(&slow{left: c.packed, err: c.cut}, l)
		out, err := io.ReadAll(z)
		require.Error(t, err, name)
		require.Equal(t, c.want, job.KindOf(err), "%s: %v", name, err)
		require.NotErrorIs(t, err, io.EOF, name)
		require.LessOrEqual(t, int64(len(out)), max(l.Floor, l.Ratio*int64(len(c.packed))), name)
		_, again := z.Read(make([]byte, 1))
		require.Equal(t, err, again, name)
	}
	_, err := io.ReadAll(inflate.NewReader(&slow{left: sound[:20], err: left}, l))
	require.Equal(t, left, err, "the source's errors are as they were")
}

func FuzzReader(f *testing.F) {
	f.Add(pack(f, "hello"), 1)
	f.Add(pack(f, strings.Repeat("\x00", 100<<10)), 100)
	f.Add(append(pack(f, "one"), pack(f, "two")...), 7)
	f.Fuzz(func(t *testing.T, packed []byte, size int) {
		l := inflate.Limits{Bytes: 64 << 10, Ratio: 10, Floor: 1 << 10}
		whole, failed := inflate.Gzip(packed, l)
		z := inflate.NewReader(bytes.NewReader(packed), l)
		var out []byte
		buf := make([]byte, 1+max(0, size)%4096)
		for {
			n, err := z.Read(buf)
			out = append(out, buf[:n]...)
			if len(out) > 64<<10 {
				t.Fatalf("%d bytes came out", len(out))
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return // it may be strict where more is to come
			}
		}
		if failed != nil || !bytes.Equal(whole, out) {
			t.Errorf("in pieces it is %q; whole %q, %v", out, whole, failed)
		}
	})
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
