package natsd

import (
	"fmt"
	"log/slog"
	"sync"
)

// logger writes the server's lines to slog: its notices are our debug lines.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex // guards worst
	worst string     // the newest error, for the start's own
}

func (l *logger) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst
}

func (l *logger) keep(line string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worst = line
	return line
}

func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("nats", slog.String("line", fmt.Sprintf(format, v...)))
}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats", slog.String("line", fmt.Sprintf(format, v...)))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats", slog.String("line", l.keep(fmt.Sprintf(format, v...))))
}

// Fatalf does not end the process: the start fails instead.
func (l *logger) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

func (l *logger) Debugf(string, ...any) {}

func (l *logger) Tracef(string, ...any) {}
