package natsd

import (
	"fmt"
	"log/slog"
)

// logger writes the server's lines to slog: its notices are our debug lines.
type logger struct {
	log   *slog.Logger
	fatal chan string // the first line that would have ended a process of its own
}

func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("nats", slog.String("line", fmt.Sprintf(format, v...)))
}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats", slog.String("line", fmt.Sprintf(format, v...)))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats", slog.String("line", fmt.Sprintf(format, v...)))
}

// Fatalf does not end the process: the start fails instead.
func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
	l.Errorf(format, v...)
}

func (l *logger) Debugf(string, ...any) {}

func (l *logger) Tracef(string, ...any) {}
