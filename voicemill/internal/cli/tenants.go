package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/firstkey"
	"github.com/voicemill/voicemill/voicemill/internal/up"
)

// Database says whose database a command works on. No API key reaches beyond its
// tenant, so these commands go past the server.
type Database struct {
	DSN  config.Secret `name:"db-dsn" env:"VOICEMILL_DB_DSN" placeholder:"DSN" help:"Postgres connection string."`
	Data string        `name:"data" type:"path" placeholder:"DIR" help:"In place of it: the data folder of a voicemill up that runs."`
}

// open connects. The caller closes.
func (d *Database) open(ctx context.Context, con *console.Console) (*pg.Pool, error) {
	dsn := d.DSN
	switch {
	case d.Data != "":
		found, err := pgd.DSN(filepath.Join(d.Data, "postgres"))
		if err != nil {
			return nil, ownFault(err)
		}
		dsn = config.NewSecret(found)
	case dsn.IsZero():
		return nil, usagef("whose database? Give --db-dsn or VOICEMILL_DB_DSN, or --data for a voicemill up")
	}
	log, err := telemetry.NewLogger(con.Err, "warn", "text")
	if err != nil {
		return nil, err
	}
	db, err := pg.Connect(ctx, pg.Config{DSN: dsn}, log)
	if err != nil {
		return nil, ownFault(err)
	}
	return db, nil
}

// FirstKey says where the secret of a tenant's first key goes.
type FirstKey struct {
	File    string `name:"first-key" env:"VOICEMILL_FIRST_KEY" type:"path" placeholder:"FILE" help:"Where the secret of the first key is kept; default first-key, of other tenants NAME-first-key, here. A secret that is there and no key yet becomes it."`
	Another bool   `name:"another-key" help:"Make a key although the tenant has one that administers."`
	Print   bool   `name:"print-key" help:"Print the secret, too."`
}

// give makes the key, and tells where it is.
func (f *FirstKey) give(ctx context.Context, con *console.Console, db *pg.Pool, tenant job.Tenant, path string) error {
	if f.File != "" {
		path = f.File
	}
	state, err := firstkey.Ensure(ctx, db, firstkey.Request{Tenant: tenant, Path: path, Another: f.Another, Random: rand.Reader})
	if err != nil {
		return ownFault(err)
	}
	told := keyTold{Tenant: tenant, State: state, File: path}
	switch state {
	case firstkey.Created:
		con.Hintf("Tenant %s: its key is in %s, and nowhere else.", tenant, path)
	case firstkey.Existed:
		con.Hintf("Tenant %s had its key already; it is in %s.", tenant, path)
	case firstkey.Revoked:
		con.Hintf("Tenant %s: the key in %s was revoked. Remove the file for another.", tenant, path)
	case firstkey.Kept:
		told.File = ""
		con.Hintf("Tenant %s has a key already; its secret was written when it was made. For another: --another-key.", tenant)
	}
	if f.Print && told.File != "" {
		if told.Key, err = (&Globals{KeyFile: told.File}).key(con); err != nil {
			return err
		}
	}
	switch {
	case con.JSON:
		return con.Document(told)
	case told.Key != "":
		return con.Printf("%s\n", told.Key)
	case told.File != "":
		return con.Printf("%s\n", told.File)
	}
	return nil
}

// keyTold is what a program is told of a key.
type keyTold struct {
	Tenant job.Tenant     `json:"tenant"`
	State  firstkey.State `json:"state"`
	File   string         `json:"file,omitempty"`
	Key    string         `json:"key,omitempty"` // if it was asked for
}

// InitCommand prepares the database of a deployment whose services run apart.
type InitCommand struct {
	Database `embed:""`
	FirstKey `embed:""`
}

// defaultKeyFile is where the key of the default tenant is kept.
const defaultKeyFile = "first-key"

// Run brings the schema up and makes the default tenant with its first key. It
// may be repeated.
func (c *InitCommand) Run(ctx context.Context, con *console.Console) error {
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	log, err := telemetry.NewLogger(con.Err, "warn", "text")
	if err != nil {
		return err
	}
	if err := migrate.Up(ctx, db, log); err != nil {
		return ownFault(err)
	}
	return c.give(ctx, con, db, up.DefaultTenant, defaultKeyFile)
}

// TenantsCommand holds the commands about tenants.
type TenantsCommand struct {
	Create TenantsCreateCommand `cmd:"" help:"Make a tenant and its first key; may be repeated."`
	List   TenantsListCommand   `cmd:"" help:"List the tenants and how many keys they have."`
	Set    TenantsSetCommand    `cmd:"" help:"Set how long what a tenant has is kept, and what it may have."`
}

// TenantsCreateCommand makes a tenant.
type TenantsCreateCommand struct {
	Tenant   string `arg:"" help:"Its name: up to 64 of a-z, 0-9, _ and -."`
	Database `embed:""`
	FirstKey `embed:""`
}

var tenantShape = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// Run makes the tenant with its first key.
func (c *TenantsCreateCommand) Run(ctx context.Context, con *console.Console) error {
	if !tenantShape.MatchString(c.Tenant) {
		return usagef("a tenant's name has 1 to 64 of a-z, 0-9, _ and -, which %q has not", c.Tenant)
	}
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	return c.give(ctx, con, db, job.Tenant(c.Tenant), fmt.Sprintf("%s-%s", c.Tenant, defaultKeyFile))
}

// TenantsListCommand lists every tenant.
type TenantsListCommand struct {
	Database `embed:""`
}

// Run prints the tenants.
func (c *TenantsListCommand) Run(ctx context.Context, con *console.Console) error {
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	all, err := gateway.Tenants(ctx, db)
	if err != nil {
		return ownFault(err)
	}
	rows := make([][]string, 0, len(all))
	for _, t := range all {
		if con.JSON {
			if err := con.Document(t); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{string(t.ID), strconv.Itoa(t.Keys), strconv.Itoa(t.Admins), t.CreatedAt.UTC().Format("2006-01-02 15:04")})
	}
	if con.JSON {
		return nil
	}
	return writeTable(con.Out, []string{"TENANT", "KEYS", "ADMINS", "CREATED"}, rows)
}
