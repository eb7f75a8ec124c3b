package transcribe_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cache keeps what took long in files of a folder. Two processes may use it at once.
type cache struct{ dir string }

func (c cache) get(tb testing.TB, key string, into any) bool {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	require.NoError(tb, err)
	require.NoError(tb, gob.NewDecoder(bytes.NewReader(raw)).Decode(into))
	return true
}

func (c cache) put(tb testing.TB, key string, v any) {
	tb.Helper()
	var raw bytes.Buffer
	require.NoError(tb, gob.NewEncoder(&raw).Encode(v))
	f, err := os.CreateTemp(c.dir, "new-")
	require.NoError(tb, err)
	_, err = f.Write(raw.Bytes())
	require.NoError(tb, errors.Join(err, f.Close()))
	require.NoError(tb, os.Rename(f.Name(), filepath.Join(c.dir, key)))
}

// digest names what is made of parts: texts, numbers and samples.
func digest(tb testing.TB, parts ...any) string {
	tb.Helper()
	h := sha256.New()
	for _, p := range parts {
		if samples, ok := p.([]int16); ok {
			require.NoError(tb, binary.Write(h, binary.LittleEndian, samples))
			continue
		}
		_, err := fmt.Fprintf(h, "%#v\n", p)
		require.NoError(tb, err)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// ticks is how many of a clock tick /proc counts in a second.
const ticks = 100

// childrenCPU returns the CPU seconds that the children of this process took so far.
func childrenCPU(tb testing.TB) (seconds float64) {
	tb.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(tb, err)
	self := strconv.Itoa(os.Getpid())
	for _, path := range processes {
		raw, err := os.ReadFile(path) //nolint:gosec // of the kernel
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(raw), ") ") // behind the name: state, parent, …
		if f := strings.Fields(rest); len(f) > 12 && f[1] == self {
			for _, s := range f[11:13] { // in user mode and in the kernel
				n, err := strconv.ParseFloat(s, 64)
				require.NoError(tb, err)
				seconds += n / ticks
			}
		}
	}
	return seconds
}
