package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/up"
)

// Bucket says whose bucket a command works on, with the settings of the services.
type Bucket struct {
	Endpoint  string        `name:"blob-endpoint" env:"VOICEMILL_BLOB_ENDPOINT" placeholder:"HOST:PORT" help:"S3 server."`
	Name      string        `name:"blob-bucket" env:"VOICEMILL_BLOB_BUCKET" default:"voicemill" help:"Bucket; default ${default}."`
	AccessKey string        `name:"blob-access-key" env:"VOICEMILL_BLOB_ACCESS_KEY" placeholder:"KEY" help:"Access key."`
	SecretKey config.Secret `name:"blob-secret-key" env:"VOICEMILL_BLOB_SECRET_KEY" placeholder:"SECRET" help:"Secret key."`
	Role      bool          `name:"blob-role" env:"VOICEMILL_BLOB_ROLE" help:"Keys come from the role of the machine, container or pod."`
	Region    string        `name:"blob-region" env:"VOICEMILL_BLOB_REGION" help:"Region."`
	TLS       bool          `name:"blob-tls" env:"VOICEMILL_BLOB_TLS" help:"Speak TLS to the S3 server."`
	CA        string        `name:"blob-ca" env:"VOICEMILL_BLOB_CA" type:"path" placeholder:"FILE" help:"Certificates that the S3 server is trusted by."`
}

// open connects, to the bucket of a voicemill up if its data folder is given. The
// caller closes.
func (b *Bucket) open(ctx context.Context, data string) (*blob.Store, error) {
	if data != "" {
		account, err := s3d.Find(filepath.Join(data, "s3"))
		if err != nil {
			return nil, ownFault(err)
		}
		objects, err := blob.OpenExisting(ctx, blob.Config{
			Endpoint: "127.0.0.1:0", Bucket: up.Bucket, Region: account.Region,
			AccessKey: account.Credentials.AccessKey, SecretKey: account.Credentials.SecretKey,
		}, blob.InProcess(account))
		return objects, ownFault(err)
	}
	if b.Endpoint == "" {
		return nil, usagef("which bucket? Give --blob-endpoint and its keys, or --data for a voicemill up")
	}
	objects, err := blob.OpenExisting(ctx, blob.Config{
		Endpoint: b.Endpoint, Bucket: b.Name, AccessKey: b.AccessKey, SecretKey: b.SecretKey, Role: b.Role, Region: b.Region,
		TLS: b.TLS, CA: b.CA,
	})
	return objects, ownFault(err)
}

// FsckCommand holds the bucket against the database.
type FsckCommand struct {
	Repair   bool          `help:"Repair what can be repaired without loss: objects without a row go; renditions whose object is gone are spoken anew when they are needed."`
	Grace    time.Duration `default:"48h" placeholder:"TIME" help:"How old an object without a row must be to be a fault; younger ones may be about to get theirs. Default ${default}."`
	Database `embed:""`
	Bucket   `embed:""`
}

// Run prints a line for each fault and one for the whole. Faults that are left
// make the exit code ExitFaults.
func (c *FsckCommand) Run(ctx context.Context, con *console.Console) error {
	if c.Grace < 0 {
		return usagef("--grace must not be negative")
	}
	db, err := c.Database.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	bucket, err := c.Bucket.open(ctx, c.Data)
	if err != nil {
		return err
	}
	defer bucket.Close()
	var told error
	report, err := scheduler.Fsck(ctx, scheduler.FsckConfig{Grace: c.Grace, Repair: c.Repair, Found: func(f scheduler.FsckFinding) {
		told = errors.Join(told, tellFinding(con, f))
	}}, db, bucket)
	if err = errors.Join(err, told); err != nil {
		return ownFault(fmt.Errorf("after %d objects and %d rows: %w", report.Objects, report.Rows, err))
	}
	if con.JSON {
		err = con.Document(report)
	} else {
		err = con.Printf("%d objects, %d bytes, %d rows that name one: %d orphans, %d dangling rows (%d not repaired); %d objects too young to say, %d about to go\n",
			report.Objects, report.Bytes, report.Rows, report.Orphans, report.Dangling, report.Unrepaired, report.Young, report.Pending)
	}
	if err == nil && report.Unrepaired > 0 {
		err = &ExitError{Code: ExitFaults}
	}
	return err
}

func tellFinding(con *console.Console, f scheduler.FsckFinding) error {
	if con.JSON {
		return con.Document(f)
	}
	end := ""
	if f.Repaired {
		end = " (repaired)"
	}
	if f.Kind != "" {
		return con.Printf("%s %s: %s%s\n", f.Fault, f.Kind, f.Key, end)
	}
	return con.Printf("%s: %s%s\n", f.Fault, f.Key, end)
}
