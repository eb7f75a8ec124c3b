package telemetry_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/telemetry"
)

func lines(t *testing.T, w io.Writer) *telemetry.Lines {
	t.Helper()
	l, err := telemetry.NewLines(w, "info", "json")
	require.NoError(t, err)
	return l
}

// numbered returns what the lines of a log say under a name, in order.
func numbered(t *testing.T, log, name string) []int {
	t.Helper()
	var found []int
	for line := range strings.Lines(log) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), "a line is whole")
		if n, ok := fields[name].(float64); ok {
			found = append(found, int(n))
		}
	}
	return found
}

func TestLinesOfALogThatIsReadAllArriveInOrder(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := lines(t, &out)
	const many = 10_000
	for n := range many {
		l.Logger().Info("line", slog.Int("n", n))
	}
	l.Close()
	l.Logger().Info("line", slog.Int("n", many)) // nobody is there to write it
	got := numbered(t, out.String(), "n")
	require.Len(t, got, many)
	for n := range many {
		require.Equal(t, n, got[n])
	}
	require.Equal(t, uint64(1), l.Lost())
}

func TestALogThatIsNotReadHoldsNobodyUpAndSaysWhatItLeftOut(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe()
	l := lines(t, write)
	long := slog.String("long", strings.Repeat("x", 1<<10))
	const many = 8 << 10 // twice what may wait
	for n := range many {
		l.Logger().Info("line", slog.Int("n", n), long)
	}
	lost := l.Lost()
	require.Greater(t, lost, uint64(many/4))
	require.Less(t, lost, uint64(many*3/4), "4 MiB wait")

	var out bytes.Buffer
	told := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		scan := bufio.NewScanner(read)
		for scan.Scan() {
			out.Write(append(scan.Bytes(), '\n'))
			if bytes.Contains(scan.Bytes(), []byte("left_out")) {
				close(told)
			}
		}
		ended <- scan.Err()
	}()
	<-told
	l.Logger().Info("line", slog.Int("n", many)) // there is room again
	l.Close()
	require.NoError(t, write.Close())
	require.NoError(t, <-ended)
	require.Equal(t, []int{int(lost)}, numbered(t, out.String(), "left_out")) //nolint:gosec // small
	got := numbered(t, out.String(), "n")
	require.Len(t, got, many+1-int(lost)) //nolint:gosec // small
	require.Equal(t, many, got[len(got)-1])
}

// flaky fails while it is told to.
type flaky struct {
	bytes.Buffer
	broken atomic.Bool
	tries  chan struct{}
}

func (f *flaky) Write(p []byte) (int, error) {
	defer func() { f.tries <- struct{}{} }()
	if f.broken.Load() {
		return 0, errors.New("the reader has gone")
	}
	return f.Buffer.Write(p)
}

// pieces remembers every write.
type pieces struct{ all []string }

func (p *pieces) Write(b []byte) (int, error) {
	p.all = append(p.all, string(b))
	return len(b), nil
}

// Two processes write to one pipe while one takes over from the other.
func TestLinesAreWrittenInPiecesThatAPipeDoesNotTear(t *testing.T) {
	t.Parallel()
	out := &pieces{}
	l := lines(t, out)
	for n := range 5000 {
		l.Logger().Info("line", slog.Int("n", n))
	}
	l.Logger().Info("line", slog.String("long", strings.Repeat("x", 10_000)))
	l.Close()
	whole := numbered(t, strings.Join(out.all, ""), "n")
	require.Len(t, whole, 5000)
	require.Less(t, len(out.all), 2500, "several lines go together")
	for _, piece := range out.all {
		require.True(t, strings.HasSuffix(piece, "\n"))
		require.True(t, len(piece) <= 4096 || strings.Count(piece, "\n") == 1)
	}
}

func TestLinesThatCannotBeWrittenAreCountedAndTold(t *testing.T) {
	t.Parallel()
	out := &flaky{tries: make(chan struct{}, 10)}
	l := lines(t, out)
	out.broken.Store(true)
	for range 3 {
		l.Logger().Info("line")
		<-out.tries
	}
	out.broken.Store(false)
	l.Logger().Info("line", slog.Int("n", 4))
	l.Close()
	require.Equal(t, uint64(3), l.Lost())
	require.Equal(t, []int{4}, numbered(t, out.String(), "n"))
	require.Equal(t, []int{3}, numbered(t, out.String(), "left_out"))
}

func TestClosingALogDoesNotWaitForeverForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		l := lines(t, write)
		l.Logger().Info("line")
		began := time.Now()
		l.Close()
		require.Equal(t, 5*time.Second, time.Since(began))
		require.NoError(t, read.Close())
	})
}

func TestALineOfALogAllocatesNothing(t *testing.T) {
	l := lines(t, io.Discard)
	defer l.Close()
	line := []byte(strings.Repeat("x", 400) + "\n")
	for range 1000 {
		_, _ = l.Write(line)
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = l.Write(line) }))
}
