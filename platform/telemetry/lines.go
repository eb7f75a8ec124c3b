package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	linesBytes = 4 << 20 // of a log that wait for its reader: some ten thousand lines of an access log
	keptBuffer = 64 << 10
	pieceBytes = 4 << 10         // PIPE_BUF of Linux: less is not torn by another process that writes to the pipe
	linesGrace = 5 * time.Second // for a reader that is behind when the log is closed
)

// Lines is a log whose writers never wait for its reader: a goroutine of its own
// passes their lines on. Up to 4 MiB may wait; lines above that, and those that
// could not be written, are left out whole. They are counted, and a line says how
// many they were once one can be written again. It is safe for concurrent use.
type Lines struct {
	to     io.Writer
	log    *slog.Logger // writes to the buffer
	direct *slog.Logger // writes past it, for the goroutine
	most   int
	wake   lifecycle.Signal // there is something to do
	done   chan struct{}    // closed when the goroutine has ended
	lost   atomic.Uint64

	mu      sync.Mutex
	waiting []byte // guarded by mu: lines that nobody has begun to write
	held    int    // guarded by mu: bytes of these and of those being written
	untold  uint64 // guarded by mu: lines left out that no line has told of
	closed  bool   // guarded by mu
}

// NewLines returns a log that writes to w, of a level and a format as for
// [NewLogger]. Close ends its goroutine. If w is standard output or standard
// error, a reader that has gone ends the process without [SurviveReaders].
func NewLines(w io.Writer, level, format string) (*Lines, error) {
	l := &Lines{to: w, most: linesBytes, wake: lifecycle.NewSignal(), done: make(chan struct{})}
	var err error
	if l.log, err = NewLogger(l, level, format); err != nil {
		return nil, err
	}
	if l.direct, err = NewLogger(w, level, format); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// SurviveReaders keeps a reader of the process's output that has gone from ending
// it: once somebody is notified of SIGPIPE, writing fails instead. It is not
// ignored, because programs that this one starts would ignore it, too.
func SurviveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Logger returns the logger that writes the lines.
func (l *Lines) Logger() *slog.Logger { return l.log }

// Lost is how many lines were left out.
func (l *Lines) Lost() uint64 { return l.lost.Load() }

// Write takes one line with its end, or leaves it out. It never fails.
func (l *Lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	fits := !l.closed && l.held+len(line) <= l.most
	if fits {
		l.waiting = append(l.waiting, line...)
		l.held += len(line)
	} else {
		l.untold++
		l.lost.Add(1)
	}
	l.mu.Unlock()
	if fits {
		l.wake.Raise()
	}
	return len(line), nil
}

// Close writes what waits, for at most five seconds; a write that hangs longer is
// left behind with its goroutine. Lines that come later are left out.
func (l *Lines) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Raise()
	late := time.NewTimer(linesGrace)
	defer late.Stop()
	select {
	case <-l.done:
	case <-late.C:
	}
}

// run passes lines on until the log is closed and nothing waits.
func (l *Lines) run() {
	defer close(l.done)
	var batch []byte
	for {
		var closed bool
		if batch, closed = l.take(batch[:0]); len(batch) > 0 {
			for rest := batch; len(rest) > 0; {
				piece := firstLines(rest)
				n, err := l.to.Write(piece)
				l.written(piece, n, err)
				rest = rest[len(piece):]
			}
			if cap(batch) > keptBuffer { // grown while the reader was behind
				batch = nil
			}
			continue
		}
		if closed {
			return
		}
		<-l.wake
	}
}

// firstLines returns whole lines that are written at once: as many as a pipe takes
// in one piece, and one at least.
func firstLines(b []byte) []byte {
	if len(b) <= pieceBytes {
		return b
	}
	if end := bytes.LastIndexByte(b[:pieceBytes], '\n'); end >= 0 {
		return b[:end+1]
	}
	return b[:bytes.IndexByte(b, '\n')+1]
}

// take exchanges what waits for an empty buffer.
func (l *Lines) take(empty []byte) (batch []byte, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, l.waiting = l.waiting, empty
	return batch, l.closed
}

// written makes room after a write of n bytes, and tells what was left out unless
// the write failed.
func (l *Lines) written(piece []byte, n int, err error) {
	var failed uint64
	if err != nil {
		failed = uint64(bytes.Count(piece[n:], []byte("\n"))) //nolint:gosec // not negative
		l.lost.Add(failed)
	}
	l.mu.Lock()
	l.held -= len(piece)
	l.untold += failed
	untold := l.untold
	if err == nil {
		l.untold = 0
	}
	l.mu.Unlock()
	if err == nil && untold > 0 {
		l.direct.Warn("lines of the log were left out", slog.Uint64("left_out", untold))
	}
}
