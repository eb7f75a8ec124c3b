package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// UsageCommand tells what a tenant has used and stored.
type UsageCommand struct {
	Tenant   job.Tenant `arg:"" optional:"" default:"default" help:"Whose; default ${default}."`
	From     string     `placeholder:"DAY" help:"First day, as 2026-12-01 (UTC); default the first of this month."`
	To       string     `placeholder:"DAY" help:"Last day; default today."`
	Database `embed:""`
}

// Run prints a line for each day and key, and one for what is stored.
func (c *UsageCommand) Run(ctx context.Context, con *console.Console) error {
	now := time.Now().UTC()
	from, err := day(c.From, now.AddDate(0, 0, 1-now.Day()))
	if err != nil {
		return err
	}
	to, err := day(c.To, now)
	if err != nil {
		return err
	}
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	list, stored, err := gateway.TenantUsage(ctx, db, c.Tenant, from, to)
	if err != nil && job.KindOf(err) == job.NotFound {
		return &ExitError{Code: ExitRefused, Err: fmt.Errorf("there is no tenant %s", c.Tenant)}
	}
	if err != nil {
		return ownFault(err)
	}
	rows := make([][]string, 0, len(list))
	for _, u := range list {
		if con.JSON {
			if err := con.Document(u); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			u.Day, u.Key, strconv.FormatInt(u.Jobs, 10), strconv.FormatInt(u.Characters, 10),
			seconds(u.AudioSeconds), seconds(u.ReusedSeconds), seconds(u.GPUSeconds),
		})
	}
	if con.JSON {
		return con.Document(stored)
	}
	if err := writeTable(con.Out, []string{"DAY", "KEY", "JOBS", "CHARACTERS", "AUDIO S", "REUSED S", "GPU S"}, rows); err != nil {
		return err
	}
	return con.Printf("\nStored now: %d bytes of renditions, %d bytes of files, %d bytes declared for documents.\n", stored.Renditions, stored.Files, stored.Uploads)
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }

func day(text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise.Truncate(24 * time.Hour), nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, usagef("%q is not a day such as 2026-12-01", text)
	}
	return t, nil
}

// TenantsSetCommand changes how long what a tenant has is kept, and what it may have.
type TenantsSetCommand struct {
	Tenant job.Tenant `arg:"" help:"Its name."`

	KeepText           string `placeholder:"TIME" help:"How long texts are kept after the end of their job, as 720h; 0 is as long as the job, default as the scheduler is configured."`
	KeepAudio          string `placeholder:"TIME" help:"The same for files."`
	KeepJobs           string `placeholder:"TIME" help:"The same for jobs; 0 is for ever."`
	KeepDeliveries     string `placeholder:"TIME" help:"The same for callbacks that were delivered or given up."`
	KeepRenditions     string `placeholder:"TIME" help:"How long renditions are kept after their last use."`
	KeepRenditionBytes string `placeholder:"BYTES" help:"Bytes of renditions that are kept at most; 0 is no bound."`

	QuotaCharactersDay      string `placeholder:"N" help:"Characters of the jobs that are accepted on a day (UTC); none is no bound."`
	QuotaOpenJobs           string `placeholder:"N" help:"Jobs that have not ended."`
	QuotaOutstandingSeconds string `placeholder:"N" help:"Seconds of audio still to be made."`
	QuotaStoredBytes        string `placeholder:"N" help:"Bytes of renditions and files."`

	Database `embed:""`
}

// Run changes what is given and leaves the rest.
func (c *TenantsSetCommand) Run(ctx context.Context, con *console.Console) error {
	p := gateway.TenantPolicy{
		Text: c.KeepText, Audio: c.KeepAudio, Jobs: c.KeepJobs, Deliveries: c.KeepDeliveries, Renditions: c.KeepRenditions, RenditionBytes: c.KeepRenditionBytes,
	}
	for _, keep := range []*string{&p.Text, &p.Audio, &p.Jobs, &p.Deliveries, &p.Renditions} {
		if err := inSeconds(keep); err != nil {
			return err
		}
	}
	q := gateway.TenantQuota{
		CharactersDay: c.QuotaCharactersDay, OpenJobs: c.QuotaOpenJobs, OutstandingSeconds: c.QuotaOutstandingSeconds, StoredBytes: c.QuotaStoredBytes,
	}
	for _, n := range []string{q.CharactersDay, q.OpenJobs, q.OutstandingSeconds, q.StoredBytes, p.RenditionBytes} {
		if _, err := strconv.ParseUint(n, 10, 63); err != nil && n != "" && n != "none" && n != "default" {
			return usagef("%q is not a whole number", n)
		}
	}
	db, err := c.open(ctx, con)
	if err != nil {
		return err
	}
	defer db.Close()
	switch err := gateway.SetTenant(ctx, db, c.Tenant, p, q); {
	case err != nil && job.KindOf(err) == job.NotFound:
		return &ExitError{Code: ExitRefused, Err: fmt.Errorf("there is no tenant %s", c.Tenant)}
	case err != nil:
		return ownFault(err)
	}
	if con.JSON {
		return con.Document(map[string]any{"tenant": c.Tenant, "changed": true})
	}
	return con.Printf("%s changed\n", c.Tenant)
}

// inSeconds turns a duration into a number of seconds.
func inSeconds(keep *string) error {
	if *keep == "" || *keep == "default" {
		return nil
	}
	d, err := time.ParseDuration(*keep)
	if err != nil || d < 0 {
		return usagef("%q is not a time such as 720h", *keep)
	}
	*keep = strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	return nil
}
