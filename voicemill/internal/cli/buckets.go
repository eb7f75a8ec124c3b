package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// BucketsCommand holds the commands about buckets that files are delivered into. To change
// them they need a key with the scope admin.
type BucketsCommand struct {
	Create BucketsCreateCommand `cmd:"" help:"Name a bucket to deliver into; it is tested first."`
	Set    BucketsSetCommand    `cmd:"" help:"Put another place, or other credentials, under the id of a bucket; it is tested first."`
	List   BucketsListCommand   `cmd:"" help:"List the buckets, newest first; credentials are not shown."`
	Delete BucketsDeleteCommand `cmd:"" help:"Forget a bucket and its credentials; what is in it stays."`
}

// bucketFlags say where a bucket is.
type bucketFlags struct {
	Endpoint  string `required:"" placeholder:"URL" help:"The store: https://host or https://host:port."`
	Bucket    string `required:"" placeholder:"NAME" help:"The bucket; it must be there."`
	Name      string `placeholder:"NAME" help:"A name to know it by."`
	Region    string `placeholder:"REGION" help:"Region that requests are signed for; default us-east-1."`
	Prefix    string `placeholder:"PATH" help:"What every path begins with."`
	PathStyle bool   `help:"Name the bucket in the path of a URL and not in its host, as most stores but AWS want it."`
	KeysFile  string `name:"keys-file" type:"path" placeholder:"FILE" help:"File with the access key in its first line and the secret key in its second; default $$VOICEMILL_BUCKET_ACCESS_KEY and $$VOICEMILL_BUCKET_SECRET_KEY. They are never flags, where other users would see them."`
}

func (f *bucketFlags) request(con *console.Console) (r client.BucketRequest, err error) {
	access, secret := con.Getenv("VOICEMILL_BUCKET_ACCESS_KEY"), con.Getenv("VOICEMILL_BUCKET_SECRET_KEY")
	if f.KeysFile != "" {
		raw, err := os.ReadFile(f.KeysFile)
		if err != nil {
			return r, fmt.Errorf("read the keys of the bucket: %w", err)
		}
		lines := strings.Fields(string(raw))
		if len(lines) != 2 {
			return r, usagef("%s must hold an access key in its first line and a secret key in its second", f.KeysFile)
		}
		access, secret = lines[0], lines[1]
	}
	if access == "" || secret == "" {
		return r, usagef("the keys of the bucket are missing: give --keys-file, or set VOICEMILL_BUCKET_ACCESS_KEY and VOICEMILL_BUCKET_SECRET_KEY")
	}
	return client.BucketRequest{
		Name: f.Name, Endpoint: f.Endpoint, Region: f.Region, Bucket: f.Bucket, Prefix: f.Prefix, PathStyle: f.PathStyle, AccessKey: access, SecretKey: secret,
	}, nil
}

// BucketsCreateCommand names a bucket.
type BucketsCreateCommand struct {
	bucketFlags `embed:""`
}

// Run prints the id alone on standard output.
func (c *BucketsCreateCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	r, err := c.request(con)
	if err != nil {
		return err
	}
	b, err := s.calls.CreateBucket(ctx, r)
	return printBucket(con, b, err)
}

// BucketsSetCommand replaces what stands under an id.
type BucketsSetCommand struct {
	ID          string `arg:"" help:"The bucket's id, bkt_…"`
	bucketFlags `embed:""`
}

// Run prints the id.
func (c *BucketsSetCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	r, err := c.request(con)
	if err != nil {
		return err
	}
	b, err := s.calls.ReplaceBucket(ctx, c.ID, r)
	return printBucket(con, b, err)
}

func printBucket(con *console.Console, b *client.Bucket, err error) error {
	switch {
	case err != nil:
		return err
	case con.JSON:
		return con.Document(b)
	}
	con.Hintf("An object was put, asked for and deleted. Deliver with: voicemill submit --deliver-to %s", b.ID)
	return con.Printf("%s\n", b.ID)
}

// BucketsListCommand lists every bucket.
type BucketsListCommand struct{}

// Run prints the buckets.
func (*BucketsListCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	var rows [][]string
	for cursor := ""; ; {
		page, err := s.calls.Buckets(ctx, 100, cursor)
		if err != nil {
			return err
		}
		for _, b := range page.Items {
			if con.JSON {
				if err := con.Document(b); err != nil {
					return err
				}
				continue
			}
			place := strings.TrimSuffix(b.Bucket+"/"+b.Prefix, "/")
			rows = append(rows, []string{b.ID, progress.Clean(b.Name), progress.Clean(b.Endpoint), progress.Clean(place), moment(b.TestedAt), moment(b.CreatedAt)})
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if con.JSON {
		return nil
	}
	return writeTable(con.Out, []string{"BUCKET", "NAME", "ENDPOINT", "PLACE", "TESTED", "CREATED"}, rows)
}

// BucketsDeleteCommand forgets one bucket.
type BucketsDeleteCommand struct {
	ID string `arg:"" help:"The bucket's id, bkt_…"`
}

// Run forgets the bucket.
func (c *BucketsDeleteCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	if err := s.calls.DeleteBucket(ctx, c.ID); err != nil {
		return err
	}
	if con.JSON {
		return con.Document(map[string]any{"id": c.ID, "deleted": true})
	}
	return con.Printf("%s forgotten\n", progress.Clean(c.ID))
}
