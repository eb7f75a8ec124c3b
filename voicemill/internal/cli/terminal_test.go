package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// tty is a pseudo-terminal: what is written to its end for programs can be read as bytes.
type tty struct {
	*os.File // the end for programs
	control  *os.File
	reading  sync.WaitGroup
	mu       sync.Mutex // guards shown
	shown    bytes.Buffer
	waiting  string        // what reached waits for
	reached  chan struct{} // closed when it was shown
}

func openTTY(t *testing.T, cols uint16) *tty {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	y := &tty{File: end, control: control, reached: make(chan struct{})}
	y.resize(t, cols)
	y.reading.Go(y.read)
	return y
}

func (y *tty) resize(t *testing.T, cols uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(y.control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: cols}); err != nil {
		t.Fatal(err)
	}
}

func (y *tty) read() {
	buf := make([]byte, 4096)
	for {
		n, err := y.control.Read(buf)
		if err != nil { // EIO: the other end was closed
			return
		}
		y.mu.Lock()
		y.shown.Write(buf[:n])
		if y.waiting != "" && strings.Contains(y.shown.String(), y.waiting) {
			y.waiting = ""
			close(y.reached)
		}
		y.mu.Unlock()
	}
}

// await returns a channel that is closed when text stands in what was shown.
func (y *tty) await(text string) <-chan struct{} {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.waiting = text
	return y.reached
}

// finish closes the terminal and returns everything it was sent.
func (y *tty) finish(t *testing.T) string {
	t.Helper()
	if err := y.Close(); err != nil {
		t.Error(err)
	}
	y.reading.Wait()
	_ = y.control.Close()
	return y.shown.String()
}

var sequences = regexp.MustCompile(`\x1b\[[?0-9]*[A-Za-z]`)

func TestWatchDrawsABarOnATerminal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func(d *jobdoc.Document) {
		d.Title = "The Pilot’s Rule"
		d.Progress.Segments.Total, d.Progress.Segments.Done, d.Progress.Fraction = 400, 100, 0.25
	})
	y := openTTY(t, 60)
	begun := y.await("25.0%")
	narrow := make(chan struct{})
	go func() { // ends with the command: both are waits for what it draws
		defer close(narrow)
		<-begun
		y.resize(t, 40)
		s.change(func(d *jobdoc.Document) {
			d.State, d.Progress.Fraction, d.Progress.Segments.Done = job.StateSucceeded, 1, 400
			d.Progress.Chapters = jobdoc.ChapterCounts{Total: 8, Ready: 8}
			d.FinishedAt = &jobdoc.Time{Time: created.Add(72e9)}
		})
	}()
	env := map[string]string{"VOICEMILL_URL": s.URL, "VOICEMILL_KEY": testKey, "TERM": "xterm"}
	code := cli.Run(t.Context(), []string{"watch", string(testID)}, &console.Console{
		In: strings.NewReader(""), Out: y.File, Err: y.File, Getenv: func(n string) string { return env[n] },
	})
	<-narrow
	got := y.finish(t)
	if code != 0 || !strings.Contains(got, "100.0%") || !strings.Contains(got, "succeeded: 8 chapters") {
		t.Errorf("watch = %d, %q; want the end", code, got)
	}
	hide, show := strings.Index(got, "\x1b[?25l"), strings.LastIndex(got, "\x1b[?25h")
	if hide < 0 || show < hide || strings.LastIndex(got, "\x1b[?25l") > show {
		t.Errorf("the cursor is not hidden and restored: %q", got)
	}
	for line := range strings.SplitSeq(sequences.ReplaceAllString(got[:show], ""), "\r") {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 59 {
			t.Errorf("a line of %d columns on a terminal of 60: %q", n, line)
		}
	}
}

func TestGetShowsTransfersOnATerminalAndKeepsStandardOutputClean(t *testing.T) {
	t.Parallel()
	s, _ := finished(t, job.StateSucceeded)
	y := openTTY(t, 80)
	var out bytes.Buffer
	env := map[string]string{"VOICEMILL_URL": s.URL, "VOICEMILL_KEY": testKey, "TERM": "xterm"}
	code := cli.Run(t.Context(), []string{"get", string(testID), "chapter-001.wav", "--out", t.TempDir()}, &console.Console{
		In: strings.NewReader(""), Out: &out, Err: y.File, Getenv: func(n string) string { return env[n] },
	})
	got := y.finish(t)
	if code != 0 || !strings.Contains(got, "of 1.1 MiB") || !strings.HasSuffix(got, "\x1b[?25h") {
		t.Errorf("get = %d; the terminal shows %q; want a transfer and the cursor back", code, got)
	}
	if strings.Contains(out.String(), "\x1b") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("standard output = %q; want one plain line", out.String())
	}
}

func TestADumbTerminalGetsLines(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func(d *jobdoc.Document) { d.State = job.StateSucceeded })
	y := openTTY(t, 80)
	env := map[string]string{"VOICEMILL_URL": s.URL, "VOICEMILL_KEY": testKey, "TERM": "dumb"}
	code := cli.Run(t.Context(), []string{"watch", string(testID)}, &console.Console{
		In: strings.NewReader(""), Out: y.File, Err: y.File, Getenv: func(n string) string { return env[n] },
	})
	if got := y.finish(t); code != 0 || strings.Contains(got, "\x1b") || !strings.Contains(got, "succeeded") {
		t.Errorf("watch = %d, %q; want plain lines", code, got)
	}
}
