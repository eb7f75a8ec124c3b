package reader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// childArgument makes a program a reader of one document.
const childArgument = "read-document"

// lowPriority is how little of a busy processor a child gets: other work first.
const lowPriority = 10

// IsChild reports whether the program was started to read a document. Every
// main that runs a scheduler asks first, and does what [Serve] says.
func IsChild(args []string) bool { return len(args) == 2 && args[1] == childArgument }

// Serve reads the one document that it is told of through in, says what is in it
// through out, and returns the exit code.
func Serve(in io.Reader, out io.Writer) int {
	var req request
	if _, err := receive(in, &req); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "read the request:", err)
		return 1
	}
	restrain(req.CPUSeconds)
	w := bufio.NewWriterSize(out, 256<<10)
	err := serve(req, in, w)
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return 1 // nobody listens any more
	}
	if err := errors.Join(send(w, message{End: faultOf(err)}), w.Flush()); err != nil {
		return 1
	}
	return 0
}

// restrain gives way to other processes, and lets the kernel end this one when
// its parent does not. A sandbox may forbid both; the parent watches anyway.
func restrain(cpuSeconds uint64) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, lowPriority)
	_ = syscall.Setrlimit(syscall.RLIMIT_CPU, &syscall.Rlimit{Cur: cpuSeconds, Max: cpuSeconds})
}

func serve(req request, in io.Reader, w *bufio.Writer) error {
	opts := manuscript.Options{Language: req.Language, MaxSegmentSeconds: req.MaxSegmentSeconds, Limits: req.Limits, Cover: req.Cover}
	if req.Speed > 0 {
		opts.CharsPerSecond = func(lang string) float64 { return manuscript.CharsPerSecond(lang) * req.Speed }
	}
	doc, err := manuscript.Open(context.Background(), &remote{in: in, out: flusher{w}}, req.Size, req.Media, opts) //nolint:forbidigo // a process of its own, which its parent ends
	if err != nil {
		return err
	}
	frame := opened{About: doc.About, Language: doc.Language}
	if doc.Cover != nil {
		frame.Cover, doc.Cover = doc.Cover.Data, nil
	}
	if err := errors.Join(send(w, message{Opened: &frame}), w.Flush()); err != nil {
		return err
	}
	for ch, err := range doc.Chapters() {
		if err != nil {
			return err
		}
		if err := parts(w, ch); err != nil {
			return err
		}
	}
	return nil
}

func parts(w io.Writer, ch *manuscript.Chapter) error {
	for rest := ch.Segments; len(rest) > 0; {
		n := min(len(rest), partSegments)
		err := send(w, message{Part: &Part{Title: ch.Title, Matter: ch.Matter, Segments: rest[:n], More: n < len(rest)}})
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// flusher sends at once what is written: a question.
type flusher struct{ *bufio.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	return n, errors.Join(err, f.Flush())
}
