package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/follow"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// StatusCommand shows one job.
type StatusCommand struct {
	ID job.ID `arg:"" help:"The job's id."`
}

// Run prints the job as it is now.
func (c *StatusCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	d, err := s.job(ctx, c.ID)
	if err != nil {
		return err
	}
	if con.JSON {
		return con.Document(d)
	}
	return writeStatus(con.Out, d, time.Now())
}

// CancelCommand stops one job.
type CancelCommand struct {
	ID job.ID `arg:"" help:"The job's id."`
}

// Run cancels the job and prints the state that it is in now: a job that had
// ended before stays as it was.
func (c *CancelCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	d, err := s.cancel(ctx, c.ID)
	if err != nil {
		return err
	}
	if con.JSON {
		return con.Document(d)
	}
	if d.State != job.StateCancelled {
		return con.Printf("%s had already ended: %s\n", d.ID, d.State)
	}
	return con.Printf("%s %s\n", d.ID, d.State)
}

// DeliverCommand has the files of a job delivered again.
type DeliverCommand struct {
	ID job.ID `arg:"" help:"The job's id."`
}

// Run asks for the delivery and prints how far it is.
func (c *DeliverCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	d, err := s.calls.Deliver(ctx, c.ID)
	if err != nil {
		return err
	}
	if con.JSON || d.Delivery == nil {
		return con.Document(d)
	}
	return con.Printf("%s %s\n", d.ID, delivery(d.Delivery))
}

// delivery says how far the files are.
func delivery(d *jobdoc.Delivery) string {
	said := fmt.Sprintf("%s to %s, %d of %d files", d.State, progress.Clean(d.Bucket), d.Files.Done, d.Files.Total)
	if d.Error != nil {
		said += ": " + progress.Clean(d.Error.Detail)
	}
	return said
}

// writeStatus says everything about a job in lines of "name value" and tables.
func writeStatus(out io.Writer, d jobdoc.Document, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...)
	}
	row("job", "%s", d.ID)
	if d.Title != "" {
		row("title", "%s", progress.Clean(d.Title))
	}
	row("state", "%s", d.State)
	if d.Error != nil {
		row("error", "%s (%s)", progress.Clean(d.Error.Detail), d.Error.Kind)
	}
	if w := d.Waiting; w != nil {
		row("waiting", "%s", waiting(w))
	}
	if d.Delivery != nil {
		row("delivery", "%s", delivery(d.Delivery))
	}
	row("class", "%s", d.Class)
	if d.Language != "" {
		row("language", "%s", progress.Clean(d.Language))
	}
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		row("label", "%s=%s", progress.Clean(k), progress.Clean(d.Labels[k]))
	}
	row("created", "%s", moment(d.CreatedAt))
	if d.StartedAt != nil {
		row("started", "%s", moment(*d.StartedAt))
	}
	if d.FinishedAt != nil {
		row("finished", "%s", moment(*d.FinishedAt))
	}
	var m progress.Meter
	f := m.Add(follow.Snapshot(d, now))
	row("progress", "%.1f%%  %s", 100*d.Progress.Fraction, progress.Counts(f))
	if u := d.Usage; u.Characters > 0 {
		row("usage", "%d characters, %s of audio, %s of it reused, %.1f GPU seconds",
			u.Characters, progress.Clock(u.AudioSeconds), progress.Clock(u.ReusedSeconds), u.GPUSeconds)
	}
	if d.Quality != nil {
		row("quality", "%s", heard(d.Quality))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return writeParts(out, d)
}

// waiting says for what a job waits.
func waiting(w *jobdoc.Waiting) string {
	switch w.Reason {
	case jobdoc.Paused:
		return "paused since " + moment(w.Since)
	case jobdoc.Turn:
		return fmt.Sprintf("for its turn in pool %s, place %d", progress.Clean(w.Pool), w.Place)
	}
	return fmt.Sprintf("for pool %s: %s since %s", progress.Clean(w.Pool), progress.Clean(w.Reason), moment(w.Since))
}

// writeParts writes the tables of chapters, files and failures that there are.
func writeParts(out io.Writer, d jobdoc.Document) error {
	chapters := make([][]string, 0, len(d.Chapters))
	for _, c := range d.Chapters {
		state := string(c.State)
		if c.Error != nil {
			state += ": " + progress.Clean(c.Error.Detail)
		}
		chapters = append(chapters, []string{
			fmt.Sprint(c.Ordinal), progress.Clip(progress.Clean(c.Title), maxTitle), clockOrDash(c.AudioSeconds), state,
		})
	}
	files := make([][]string, 0, len(d.Artifacts))
	for _, a := range d.Artifacts {
		files = append(files, []string{progress.Clean(a.Name), clockOrDash(a.AudioSeconds), bytesOf(a.Bytes), progress.Clean(a.MediaType)})
	}
	failures := make([][]string, 0, len(d.Failures))
	for _, f := range d.Failures {
		failures = append(failures, []string{
			fmt.Sprint(f.Segment), fmt.Sprint(f.Chapter), fmt.Sprint(f.Attempts), progress.Clean(f.Kind), progress.Clean(f.Detail),
		})
	}
	var doubts [][]string
	if d.Quality != nil {
		for _, q := range d.Quality.Stretches {
			doubts = append(doubts, []string{
				fmt.Sprint(q.Segment), fmt.Sprint(q.Chapter), progress.Clock(q.StartSeconds), progress.Clean(q.Kind),
				progress.Clip(progress.Clean(q.Text), maxTitle), progress.Clip(progress.Clean(q.Heard), maxTitle),
			})
		}
	}
	for _, t := range []struct {
		head []string
		rows [][]string
	}{
		{[]string{"CHAPTER", "TITLE", "AUDIO", "STATE"}, chapters},
		{[]string{"FILE", "AUDIO", "SIZE", "TYPE"}, files},
		{[]string{"FAILED SEGMENT", "CHAPTER", "ATTEMPTS", "KIND", "DETAIL"}, failures},
		{[]string{"DOUBTFUL SEGMENT", "CHAPTER", "AT", "KIND", "TEXT", "HEARD"}, doubts},
	} {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := io.WriteString(out, "\n"); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if err := writeTable(out, t.head, t.rows); err != nil {
			return err
		}
	}
	return nil
}

const maxTitle = 48 // a longer one is cut, so that a row stays a line

// writeTable writes rows in aligned columns, under head unless it is nil.
func writeTable(out io.Writer, head []string, rows [][]string) error {
	all := rows
	if head != nil {
		all = append([][]string{head}, rows...)
	}
	var widths []int
	for _, row := range all {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], progress.Columns(cell))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-progress.Columns(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func moment(t jobdoc.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func clockOrDash(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return progress.Clock(seconds)
}

// bytesOf writes a size as people read it, in units of 1024.
func bytesOf(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for value >= unit && i < 3 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[i])
}
