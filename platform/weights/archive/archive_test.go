package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/weights/archive"
)

func zipOf(tb testing.TB, name, text string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	require.NoError(tb, err)
	_, err = io.WriteString(w, text)
	require.NoError(tb, err)
	require.NoError(tb, z.Close())
	return b.Bytes()
}

func tarOf(tb testing.TB, h tar.Header, text string) []byte {
	tb.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	require.NoError(tb, w.WriteHeader(&h))
	_, err := io.WriteString(w, text)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	require.NoError(tb, g.Close())
	return b.Bytes()
}

type discard struct{ bytes.Buffer }

func (*discard) Close() error { return nil }

// extract takes the file a/b out of content.
func extract(tb testing.TB, content []byte, limit int64) (string, error) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "archive")
	require.NoError(tb, os.WriteFile(path, content, 0o600))
	f, err := os.Open(path)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, f.Close()) }()
	out := &discard{}
	err = archive.Extract(f, []string{"a/b"}, limit, func(string) (io.WriteCloser, error) { return out, nil })
	return out.String(), err
}

func TestExtract(t *testing.T) {
	t.Parallel()
	file := tar.Header{Name: "a/b", Size: 5, Typeflag: tar.TypeReg}
	for name, content := range map[string][]byte{"zip": zipOf(t, "a/b", "hello"), "tgz": tarOf(t, file, "hello")} {
		got, err := extract(t, content, 5)
		require.NoError(t, err, name)
		require.Equal(t, "hello", got)
		_, err = extract(t, content, 4)
		require.ErrorContains(t, err, "more than 4 bytes", name)
		_, err = extract(t, content[:len(content)/3], 5)
		require.Error(t, err, name)
	}
	for name, content := range map[string][]byte{
		"another name": zipOf(t, "../a/b", "hello"), "a link": tarOf(t, tar.Header{Name: "a/b", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}, ""),
	} {
		_, err := extract(t, content, 5)
		require.ErrorIs(t, err, archive.ErrNoMember, name)
	}
	for _, content := range []string{"", "PK", "hello, I am no archive", "\x1f\x8b"} {
		_, err := extract(t, []byte(content), 5)
		require.Error(t, err)
	}
}

func TestABombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	content := zipOf(t, "a/b", strings.Repeat("\x00", 8<<20))
	require.Less(t, len(content), 32<<10)
	got, err := extract(t, content, 1000)
	require.ErrorContains(t, err, "more than 1000 bytes")
	require.LessOrEqual(t, len(got), 1001)
}

func FuzzExtract(f *testing.F) {
	f.Add(zipOf(f, "a/b", "hello"))
	f.Add(tarOf(f, tar.Header{Name: "a/b", Size: 5, Typeflag: tar.TypeReg}, "hello"))
	f.Fuzz(func(t *testing.T, content []byte) {
		const limit = 64
		got, err := extract(t, content, limit)
		if len(got) > limit+1 || err == nil && len(got) > limit {
			t.Errorf("%d bytes came out, and %v", len(got), err)
		}
	})
}
