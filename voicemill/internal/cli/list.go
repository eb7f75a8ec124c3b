package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// ListCommand lists jobs.
type ListCommand struct {
	State  []string          `placeholder:"STATE" help:"Only jobs in these states; may be repeated."`
	Label  map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Only jobs with this label; may be repeated."`
	Class  string            `placeholder:"CLASS" help:"Only interactive or only bulk jobs."`
	After  string            `placeholder:"TIME" help:"Only jobs created since then: an RFC 3339 time, or how long ago, such as 24h."`
	Before string            `placeholder:"TIME" help:"Only jobs created before then."`
	Limit  int               `default:"20" placeholder:"N" help:"How many jobs at most; default ${default}."`
	All    bool              `help:"Every job, however many there are."`
}

// maxPage is the most that the server puts into one page.
const maxPage = 100

// Run prints the jobs, page by page.
func (c *ListCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	if c.Limit < 1 {
		return usagef("--limit %d; at least 1 is needed", c.Limit)
	}
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	left := c.Limit
	var rows [][]string
	for more := true; more; {
		q.Limit = maxPage
		if !c.All {
			q.Limit = min(left, maxPage)
		}
		page, err := s.calls.Jobs(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range page.Items {
			if con.JSON {
				if err := con.Document(d); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, jobRow(d))
		}
		left -= len(page.Items)
		// A table is written page by page, so that memory does not grow with the list.
		if err := flushJobs(con, &rows, q.Cursor == ""); err != nil {
			return err
		}
		q.Cursor = page.Next
		more = page.Next != "" && (c.All || left > 0)
	}
	if q.Cursor != "" {
		con.Hintf("There are more: --all lists every one.")
	}
	return nil
}

func (c *ListCommand) query(now time.Time) (client.ListOptions, error) {
	q := client.ListOptions{Labels: c.Label, Class: job.Class(c.Class)}
	for _, state := range c.State {
		q.States = append(q.States, job.State(state))
	}
	for _, t := range []struct {
		flag, value string
		into        *time.Time
	}{{"--after", c.After, &q.CreatedAfter}, {"--before", c.Before, &q.CreatedBefore}} {
		if t.value == "" {
			continue
		}
		if ago, err := time.ParseDuration(t.value); err == nil {
			*t.into = now.Add(-ago)
			continue
		}
		at, err := time.Parse(time.RFC3339, t.value)
		if err != nil {
			return q, usagef("%s %q is neither an RFC 3339 time nor a duration such as 24h", t.flag, t.value)
		}
		*t.into = at
	}
	return q, nil
}

func jobRow(d jobdoc.Document) []string {
	p := d.Progress
	title := progress.Clip(progress.Clean(d.Title), maxTitle)
	if title == "" {
		title = "-"
	}
	return []string{
		string(d.ID), fmt.Sprintf("%-10s", d.State), fmt.Sprintf("%5.1f%%", 100*p.Fraction),
		fmt.Sprintf("%-9s", clockOrDash(p.AudioSeconds)), moment(d.CreatedAt), title,
	}
}

func flushJobs(con *console.Console, rows *[][]string, first bool) error {
	page := *rows
	*rows = nil
	switch {
	case con.JSON:
		return nil
	case len(page) == 0 && first:
		con.Hintf("There are no jobs like that.")
		return nil
	}
	head := []string{fmt.Sprintf("%-43s", "JOB"), "STATE", "DONE", "AUDIO", "CREATED", "TITLE"}
	if !first {
		head = nil
	}
	return writeTable(con.Out, head, page)
}
