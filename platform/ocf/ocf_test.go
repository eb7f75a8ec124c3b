package ocf_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/ocf"
)

func packed(tb testing.TB, names ...string) *bytes.Reader {
	tb.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range names {
		w, err := z.Create(name)
		require.NoError(tb, err)
		_, err = io.WriteString(w, name)
		require.NoError(tb, err)
	}
	require.NoError(tb, z.Close())
	return bytes.NewReader(buf.Bytes())
}

func TestNamesAreCleanAndTheFirstOfANameCounts(t *testing.T) {
	t.Parallel()
	r := packed(t, `OPS\a.xhtml`, "../../OPS/a.xhtml", "OPS/A.XHTML", "OPS/b.xhtml")
	c, err := ocf.Open(r, r.Size())
	require.NoError(t, err)
	require.Equal(t, 4, c.Entries)
	require.Len(t, c.Files, 3)
	require.Equal(t, `OPS\a.xhtml`, c.File("OPS/a.xhtml").Name)
	require.Equal(t, "OPS/A.XHTML", c.File("OPS/A.XHTML").Name)
	require.Equal(t, "OPS/b.xhtml", c.File("ops/B.xhtml").Name)
	require.Nil(t, c.File("OPS/c.xhtml"))
	require.NoError(t, c.Failed())
}

type away struct{ err error }

func (a away) ReadAt([]byte, int64) (int, error) { return 0, a.err }

func TestWhoIsToBlameIsSaid(t *testing.T) {
	t.Parallel()
	_, err := ocf.Open(strings.NewReader("no ZIP"), 6)
	require.ErrorIs(t, err, ocf.ErrFormat)
	require.NotErrorIs(t, err, ocf.ErrDirectory)
	lost := errors.New("the bucket is away")
	_, err = ocf.Open(away{lost}, 1000)
	require.ErrorIs(t, err, lost)
	require.NotErrorIs(t, err, ocf.ErrFormat)
}

func TestADirectoryIsBounded(t *testing.T) {
	t.Parallel()
	names := make([]string, 200)
	for i := range names {
		names[i] = strings.Repeat(string(rune('a'+i%26)), 50_000) + "/" + strings.Repeat("x", i+1)
	}
	r := packed(t, names...)
	_, err := ocf.Open(r, r.Size())
	require.ErrorIs(t, err, ocf.ErrDirectory)
	require.ErrorIs(t, err, ocf.ErrFormat)
}

func TestHrefsAreResolvedWithinTheContainer(t *testing.T) {
	t.Parallel()
	for href, want := range map[string][2]string{
		"b.xhtml#top": {"OPS/b.xhtml", "top"}, "../c%20d.xhtml?x": {"c d.xhtml", ""}, "../../../etc/passwd": {"etc/passwd", ""},
		"/e.xhtml": {"e.xhtml", ""}, "#here": {"OPS/a.xhtml", "here"}, "https://example.org/": {"", ""}, `sub\f.xhtml`: {"OPS/sub/f.xhtml", ""},
	} {
		name, fragment := ocf.Resolve("OPS/a.xhtml", href)
		require.Equal(t, want, [2]string{name, fragment}, href)
	}
}
