package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// DeleteCommand deletes jobs, in the database.
type DeleteCommand struct {
	IDs      []job.ID   `arg:"" name:"id" help:"The ids of the jobs."`
	Tenant   job.Tenant `default:"default" placeholder:"NAME" help:"Whose job it is; default ${default}."`
	Database `embed:""`
}

// Run deletes the jobs, whatever their states, and says so of each. Those that there
// are not it names at the end.
func (c *DeleteCommand) Run(ctx context.Context, con *console.Console) error {
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	var missing []string
	for _, id := range c.IDs {
		switch err := gateway.DeleteJob(ctx, db, c.Tenant, id); {
		case err == nil:
			if err := tellDeleted(con, id); err != nil {
				return err
			}
		case job.KindOf(err) == job.NotFound:
			missing = append(missing, string(id))
		default:
			return ownFault(err)
		}
	}
	if len(missing) > 0 {
		return &ExitError{Code: ExitRefused, Err: fmt.Errorf("tenant %s has not: %s", c.Tenant, strings.Join(missing, ", "))}
	}
	return nil
}

func tellDeleted(con *console.Console, id job.ID) error {
	if con.JSON {
		return con.Document(map[string]any{"id": id, "deleted": true})
	}
	return con.Printf("%s deleted\n", id)
}
