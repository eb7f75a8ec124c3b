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
type Commanded = store.Outcome

// Pause keeps a job from the engines until it is resumed.
func (c *Commands) Pause(ctx context.Context, id job.ID) (Commanded, error) {
	return c.store.PauseJob(ctx, "", id)
}

// Resume lets a paused job take its turns again.
func (c *Commands) Resume(ctx context.Context, id job.ID) (Commanded, error) {
	return c.store.ResumeJob(ctx, "", id)
}

// Redrive has what failed of a job done again, and nothing else.
func (c *Commands) Redrive(ctx context.Context, id job.ID) (Commanded, error) {
	return c.store.RedriveJob(ctx, "", id)
}

// Redo has one segment spoken again, with another seed or another text, nil for
// as it is, and its chapter joined again.
func (c *Commands) Redo(ctx context.Context, id job.ID, segment int, seed *int64, spoken *string) (Commanded, error) {
	return c.store.RedoSegment(ctx, "", id, store.Redo{Segment: segment, Seed: seed, Spoken: spoken})
}

// Set changes what orders a job; nil leaves it as it is, and the zero time takes
// a deadline away.
func (c *Commands) Set(ctx context.Context, id job.ID, priority *int, class *job.Class, deadline *time.Time) (Commanded, error) {
	return c.store.SetJob(ctx, "", id, store.Terms{Priority: priority, Class: class, Deadline: deadline})
}
