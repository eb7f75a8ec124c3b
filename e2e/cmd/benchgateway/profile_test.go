package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"path/filepath"
	"runtime/pprof"
	"testing"

	"github.com/stretchr/testify/require"
)

// It profiles the process, so nothing else may do so beside it.
func TestAProfileToKeepNamesNoFolderOfThisMachine(t *testing.T) {
	var raw bytes.Buffer
	require.NoError(t, pprof.StartCPUProfile(&raw))
	pprof.StopCPUProfile()
	program := unpack(t, raw.Bytes())
	require.Contains(t, string(program), "benchgateway.test", "the program's path is in what the runtime writes")

	kept, err := withoutFolders(raw.Bytes())
	require.NoError(t, err)
	text := unpack(t, kept)
	require.Contains(t, string(text), "benchgateway.test")
	require.NotContains(t, string(text), string(filepath.Separator)+"benchgateway.test")
}

func TestWhatIsNoProfileIsRefused(t *testing.T) {
	t.Parallel()
	_, err := withoutFolders([]byte("404 page not found"))
	require.Error(t, err)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write([]byte{0x32, 0x7f, 'a'}) // a name that is cut short
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = withoutFolders(b.Bytes())
	require.Error(t, err)
}

func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return b
}
