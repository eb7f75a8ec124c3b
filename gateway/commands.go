package gateway

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Commands are what may be done to jobs that are there, of every tenant. Like
// [Tenants] they are for whoever has the database. All may be repeated.
type Commands struct{ store *store.Store }

// OpenCommands returns the commands over db.
func OpenCommands(db *pg.Pool) (*Commands, error) {
	st, err := store.New(db, nil)
	if err != nil {
		return nil, err
	}
	return &Commands{st}, nil
}

// Commanded says what a command did.
type Commanded struct {
	ID      job.ID    `json:"id"`
	State   job.State `json:"state"`
	Version int64     `json:"version"`
	Changed bool      `json:"changed"` // else it was so already
}

func commanded(id job.ID, o store.Outcome, err error) (Commanded, error) {
	return Commanded{id, o.State, o.Version, o.Changed}, err
}

// Pause keeps a job from the engines until it is resumed.
func (c *Commands) Pause(ctx context.Context, id job.ID) (Commanded, error) {
	o, err := c.store.PauseJob(ctx, "", id)
	return commanded(id, o, err)
}

// Resume lets a paused job take its turns again.
func (c *Commands) Resume(ctx context.Context, id job.ID) (Commanded, error) {
	o, err := c.store.ResumeJob(ctx, "", id)
	return commanded(id, o, err)
}

// Redrive has what failed of a job done again, and nothing else.
func (c *Commands) Redrive(ctx context.Context, id job.ID) (Commanded, error) {
	o, err := c.store.RedriveJob(ctx, "", id)
	return commanded(id, o, err)
}

// Redo has one segment spoken again, with another seed or another text, nil for
// as it is, and its chapter joined again.
func (c *Commands) Redo(ctx context.Context, id job.ID, segment int, seed *int64, spoken *string) (Commanded, error) {
	o, err := c.store.RedoSegment(ctx, "", id, store.Redo{Segment: segment, Seed: seed, Spoken: spoken})
	return commanded(id, o, err)
}

// Set changes what orders a job; nil leaves it as it is, and the zero time takes
// a deadline away.
func (c *Commands) Set(ctx context.Context, id job.ID, priority *int, class *job.Class, deadline *time.Time) (Commanded, error) {
	o, err := c.store.SetJob(ctx, "", id, store.Terms{Priority: priority, Class: class, Deadline: deadline})
	return commanded(id, o, err)
}
