package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// OneJob says which job a command on work is about, and whose database it is in.
type OneJob struct {
	ID       job.ID `arg:"" help:"The job's id."`
	Database `embed:""`
}

// do opens the database, runs the command and tells what it did.
func (j *OneJob) do(ctx context.Context, con *console.Console, done string, run func(*gateway.Commands) (gateway.Commanded, error)) error {
	db, err := j.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	commands, err := gateway.OpenCommands(db)
	if err != nil {
		return ownFault(err)
	}
	told, err := run(commands)
	switch {
	case err != nil && refuses(job.KindOf(err)):
		return &ExitError{Code: ExitRefused, Err: errors.New(job.PublicOf(err, err.Error()))}
	case err != nil:
		return ownFault(err)
	case con.JSON:
		return con.Document(told)
	case !told.Changed:
		return con.Printf("%s is so already: %s\n", told.ID, told.State)
	}
	return con.Printf("%s %s: %s\n", told.ID, done, told.State)
}

// refuses reports whether an error of the kind is the caller's to mend.
func refuses(k job.Kind) bool { return k == job.NotFound || k == job.Conflict || k == job.Invalid }

// PauseCommand keeps one job from the engines.
type PauseCommand struct {
	OneJob `embed:""`
}

// Run pauses the job.
func (c *PauseCommand) Run(ctx context.Context, con *console.Console) error {
	return c.do(ctx, con, "paused", func(d *gateway.Commands) (gateway.Commanded, error) { return d.Pause(ctx, c.ID) })
}

// ResumeCommand lets a paused job go on.
type ResumeCommand struct {
	OneJob `embed:""`
}

// Run resumes the job.
func (c *ResumeCommand) Run(ctx context.Context, con *console.Console) error {
	return c.do(ctx, con, "resumed", func(d *gateway.Commands) (gateway.Commanded, error) { return d.Resume(ctx, c.ID) })
}

// RedriveCommand has what failed of a job done again.
type RedriveCommand struct {
	OneJob `embed:""`
}

// Run opens the job again for what failed.
func (c *RedriveCommand) Run(ctx context.Context, con *console.Console) error {
	return c.do(ctx, con, "redriven", func(d *gateway.Commands) (gateway.Commanded, error) { return d.Redrive(ctx, c.ID) })
}

// RedoCommand has one segment spoken again.
type RedoCommand struct {
	OneJob  `embed:""`
	Segment int     `arg:"" help:"The segment's number, from 1."`
	Seed    *int64  `placeholder:"N" help:"The seed to speak it with; default a random one, unless --text is given."`
	Text    *string `placeholder:"TEXT" help:"What to say in place of what is written."`
}

// Run asks for the segment once more.
func (c *RedoCommand) Run(ctx context.Context, con *console.Console) error {
	if c.Seed == nil && c.Text == nil {
		var raw [4]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return ownFault(err)
		}
		seed := int64(binary.BigEndian.Uint32(raw[:]) >> 1)
		c.Seed = &seed
	}
	return c.do(ctx, con, "redone", func(d *gateway.Commands) (gateway.Commanded, error) {
		return d.Redo(ctx, c.ID, c.Segment, c.Seed, c.Text)
	})
}

// SetCommand changes what orders a job.
type SetCommand struct {
	OneJob     `embed:""`
	Priority   *int       `placeholder:"N" help:"Before the tenant's other jobs if greater; 0 is normal."`
	Class      *job.Class `placeholder:"CLASS" help:"interactive or bulk."`
	Deadline   *time.Time `placeholder:"TIME" help:"When it should be done, as 2026-12-01T06:00:00Z."`
	NoDeadline bool       `help:"Take the deadline away."`
}

// Run changes the job.
func (c *SetCommand) Run(ctx context.Context, con *console.Console) error {
	switch {
	case c.Class != nil && *c.Class != job.Interactive && *c.Class != job.Bulk:
		return usagef("--class is %s or %s", job.Interactive, job.Bulk)
	case c.NoDeadline && c.Deadline != nil:
		return usagef("--deadline and --no-deadline contradict each other")
	case c.Deadline != nil && !c.Deadline.After(time.Now()):
		return usagef("--deadline is past")
	case c.NoDeadline:
		c.Deadline = &time.Time{}
	case c.Priority == nil && c.Class == nil && c.Deadline == nil:
		return usagef("set what? Give --priority, --class, --deadline or --no-deadline")
	}
	return c.do(ctx, con, "set", func(d *gateway.Commands) (gateway.Commanded, error) {
		return d.Set(ctx, c.ID, c.Priority, c.Class, c.Deadline)
	})
}
