package follow

import (
	"fmt"
	"io"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// View shows a job. Run calls it from one goroutine.
type View interface {
	Show(doc jobdoc.Document, now time.Time) error // the job has changed
	Note(line string)                              // something about the connection
	Tick(now time.Time) error                      // time has passed
	Close() error                                  // nothing follows; once
}

// NewView returns the view that suits where con writes.
func NewView(con *console.Console) View {
	if con.JSON {
		return &documents{con: con, version: -1}
	}
	if s := con.OutScreen(); s != nil {
		return &bar{screen: s}
	}
	return &lines{out: con.Out, notes: con.Err}
}

// Snapshot turns a job into what a meter reads.
func Snapshot(d jobdoc.Document, now time.Time) progress.Snapshot {
	p := d.Progress
	s := progress.Snapshot{
		At: now, Title: d.Title, State: string(d.State),
		SegmentsTotal: p.Segments.Total, SegmentsDone: p.Segments.Done + p.Segments.Reused,
		SegmentsReused: p.Segments.Reused, SegmentsFailed: p.Segments.Failed,
		ChaptersTotal: p.Chapters.Total, ChaptersReady: p.Chapters.Ready,
		AudioSeconds: p.AudioSeconds, Fraction: p.Fraction, Final: d.State.Final(),
	}
	if p.ETA != nil {
		s.ETA = p.ETA.Time
	}
	if d.StartedAt != nil {
		s.Elapsed = now.Sub(d.StartedAt.Time)
		if d.FinishedAt != nil {
			s.Elapsed = d.FinishedAt.Sub(d.StartedAt.Time)
		}
	}
	return s
}

// bar redraws three lines on a terminal.
type bar struct {
	screen *console.Screen
	meter  progress.Meter
	frame  progress.Frame
	shown  bool
}

func (b *bar) Show(d jobdoc.Document, now time.Time) error {
	b.frame, b.shown = b.meter.Add(Snapshot(d, now)), true
	b.screen.Draw(progress.Block(b.frame, b.screen.Width()))
	return nil
}

func (b *bar) Note(line string) {
	b.screen.Note(line)
	if b.shown {
		b.screen.Draw(progress.Block(b.frame, b.screen.Width()))
	}
}

func (b *bar) Tick(now time.Time) error {
	if !b.shown {
		return nil
	}
	f := b.frame
	// The end comes closer between two answers; it does not arrive before the job says so.
	f.Remain = max(f.Remain-now.Sub(f.At), 0)
	b.screen.Draw(progress.Block(f, b.screen.Width()))
	return nil
}

func (b *bar) Close() error {
	b.screen.Close()
	return nil
}

// linePause is the least time between two lines of one job.
const linePause = time.Second

// lines writes a line for each change, at most one a second and the last one in any case.
type lines struct {
	out, notes io.Writer
	meter      progress.Meter
	version    int64
	state      job.State
	last       time.Time // of the last line
	held       string    // a line that came too soon
}

func (l *lines) Show(d jobdoc.Document, now time.Time) error {
	if d.Version == l.version && d.State == l.state {
		return nil
	}
	l.version, l.state = d.Version, d.State
	l.held = progress.Line(l.meter.Add(Snapshot(d, now)))
	return l.Tick(now)
}

func (l *lines) Note(line string) { _, _ = fmt.Fprintln(l.notes, line) }

func (l *lines) Tick(now time.Time) error {
	if l.held == "" || now.Sub(l.last) < linePause {
		return nil
	}
	l.last = now
	return l.flush()
}

func (l *lines) Close() error { return l.flush() }

func (l *lines) flush() error {
	if l.held == "" {
		return nil
	}
	_, err := fmt.Fprintln(l.out, l.held)
	l.held = ""
	if err != nil {
		return fmt.Errorf("write the progress: %w", err)
	}
	return nil
}

// documents writes every version of the job as one line of JSON.
type documents struct {
	con     *console.Console
	version int64
	state   job.State
}

func (d *documents) Show(doc jobdoc.Document, _ time.Time) error {
	if doc.Version == d.version && doc.State == d.state {
		return nil
	}
	d.version, d.state = doc.Version, doc.State
	return d.con.Document(doc)
}

func (d *documents) Note(line string) { _, _ = fmt.Fprintln(d.con.Err, line) }

func (*documents) Tick(time.Time) error { return nil }

func (*documents) Close() error { return nil }
