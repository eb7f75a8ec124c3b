package owned

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"time"
)

const (
	maxLine  = 1 << 10          // bytes of a line that are kept
	perSpan  = 100              // lines that are logged
	lineSpan = 10 * time.Second // in each of these
)

// lines logs what an engine says, line by line, as far as that is bounded. It is for
// one goroutine.
type lines struct {
	log     *slog.Logger
	line    []byte // the beginning of one that has no end yet
	since   time.Time
	logged  int // since then
	dropped int
}

func newLines(log *slog.Logger) *lines { return &lines{log: log} }

// Write implements io.Writer. It never fails.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLine-len(l.line))]...)
		if ended {
			l.say(time.Now(), string(l.line))
			l.line = l.line[:0]
		}
		rest = after
	}
	return len(p), nil
}

func (l *lines) say(now time.Time, line string) {
	if now.Sub(l.since) >= lineSpan {
		if l.dropped > 0 {
			l.log.LogAttrs(context.Background(), slog.LevelWarn, "the engine said more than is logged", slog.Int("lines", l.dropped)) //nolint:forbidigo // nobody waits
		}
		l.since, l.logged, l.dropped = now, 0, 0
	}
	if l.logged == perSpan {
		l.dropped++
		return
	}
	l.logged++
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "the engine says", slog.String("line", strings.ToValidUTF8(strings.TrimSpace(line), "�"))) //nolint:forbidigo // nobody waits
}
