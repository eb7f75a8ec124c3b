package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/follow"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// WatchCommand follows one job.
type WatchCommand struct {
	ID job.ID `arg:"" help:"The job's id."`
}

// Run shows the job until it ends.
func (c *WatchCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	// The first answer is asked for like any other call: a job that is not
	// there, or a server that is not, is told at once and not waited for.
	first, err := s.job(ctx, c.ID)
	if err != nil {
		return err
	}
	return watch(ctx, con, s, c.ID, &first)
}

// watch follows a job and says what came of it.
func watch(ctx context.Context, con *console.Console, s *Session, id job.ID, first *jobdoc.Document) error {
	last, err := follow.Run(ctx, follow.Config{
		Poll: s.poll(id), Away: away, Patience: s.patience, Address: s.address,
	}, follow.NewView(con), first)
	switch {
	case errors.Is(err, context.Canceled):
		con.Hintf("The job goes on. See it again with: voicemill watch %s", id)
		return &ExitError{Code: ExitInterrupted}
	case errors.Is(err, follow.ErrLost):
		con.Hintf("The job goes on when the server is back. See it again with: voicemill watch %s", id)
		return err
	case err != nil:
		return err
	}
	if !con.JSON {
		if err := writeEnd(con.Out, con.Err, last); err != nil {
			return err
		}
	}
	return endedAs(last.State)
}

// writeEnd says in a sentence how the job ended, and on hints what to do next.
func writeEnd(out, hints io.Writer, d jobdoc.Document) error {
	var sentence string
	p := d.Progress
	switch d.State {
	case job.StateSucceeded, job.StatePartial:
		sentence = fmt.Sprintf("%s: %s, %s of audio%s.", d.State, count(p.Chapters.Ready, "chapter"),
			progress.Clock(p.AudioSeconds), took(d))
		if n := p.Segments.Failed; n > 0 {
			sentence += " " + count(n, "segment") + " could not be spoken: see voicemill status " + string(d.ID)
		}
		if d.Quality != nil {
			sentence += "\n" + heard(d.Quality)
		}
	case job.StateFailed:
		sentence = "failed."
		if d.Error != nil {
			sentence = "failed: " + progress.Clean(d.Error.Detail)
		}
	default:
		sentence = string(d.State) + "."
	}
	if _, err := fmt.Fprintln(out, sentence); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if len(d.Artifacts) > 0 {
		_, _ = fmt.Fprintf(hints, "Next: voicemill get %s --out DIR\n", d.ID)
	}
	return nil
}

// heard says what hearing a job back has proved.
func heard(q *job.Quality) string {
	if q.Heard == 0 {
		return fmt.Sprintf("Nothing was heard back of %s.", count(q.Segments, "segment"))
	}
	return fmt.Sprintf("Heard back: %d of %s, word error rate %.1f %% by the ear, %d doubtful.",
		q.Heard, count(q.Segments, "segment"), 100*q.WordErrorRate, q.Doubtful)
}

func took(d jobdoc.Document) string {
	if d.StartedAt == nil || d.FinishedAt == nil {
		return ""
	}
	t := d.FinishedAt.Sub(d.StartedAt.Time)
	if t < time.Second {
		return " in less than a second"
	}
	return " made in " + progress.Clock(t.Seconds())
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
