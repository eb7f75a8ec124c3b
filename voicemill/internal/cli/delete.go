package cli

import (
	"context"
	"fmt"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// DeleteCommand deletes jobs, in the database.
type DeleteCommand struct {
	IDs      []job.ID   `arg:"" name:"id" help:"The ids of the jobs."`
	Tenant   job.Tenant `default:"default" placeholder:"NAME" help:"Whose job it is; default ${default}."`
	Database `embed:""`
}

// Run deletes the jobs, whatever their states, and says so of each. The first that
// there is not ends it.
func (c *DeleteCommand) Run(ctx context.Context, con *console.Console) error {
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, id := range c.IDs {
		if err := c.delete(ctx, con, db, id); err != nil {
			return err
		}
	}
	return nil
}

func (c *DeleteCommand) delete(ctx context.Context, con *console.Console, db *pg.Pool, id job.ID) error {
	switch err := gateway.DeleteJob(ctx, db, c.Tenant, id); {
	case err != nil && job.KindOf(err) == job.NotFound:
		return &ExitError{Code: ExitRefused, Err: fmt.Errorf("tenant %s has no job %s", c.Tenant, id)}
	case err != nil:
		return ownFault(err)
	}
	if con.JSON {
		return con.Document(map[string]any{"id": id, "deleted": true})
	}
	return con.Printf("%s deleted\n", id)
}
