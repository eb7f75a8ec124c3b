package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/fetch"
)

// GetCommand fetches finished files.
type GetCommand struct {
	ID     job.ID   `arg:"" help:"The job's id."`
	Names  []string `arg:"" optional:"" name:"name" help:"Which files; default: all there are."`
	Out    string   `default:"." type:"path" placeholder:"DIR" help:"Folder to put them into; it is made if it is missing. Default: this one."`
	Titles bool     `help:"Name the files after the book and its chapters: \"Title - 03 - Chapter.mp3\"."`
	Force  bool     `help:"Replace files of the same name that have other content."`
}

// fetched is what --json says about one file.
type fetched struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Kept   bool   `json:"kept"` // it was there already
}

// Run fetches the files one after the other. A file stands under its name only
// after size and digest were found right.
func (c *GetCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	d, err := s.job(ctx, c.ID)
	if err != nil {
		return err
	}
	wanted, err := c.choose(d)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return nothingYet(d)
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(c.Out)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written through the folder itself
	meter := newTransfer(con.ErrScreen())
	defer meter.close()
	f := fetch.Fetcher{
		Root: root, Replace: c.Force, Progress: meter.add, Away: away,
	}
	for _, a := range wanted {
		f.Open = func(ctx context.Context, _ string, offset int64) (fetch.Body, error) {
			return s.open(ctx, c.ID, a.Name, offset)
		}
		local := a.Name
		if c.Titles {
			local = titled(d, a.Name)
		}
		meter.begin(a.Name, a.Bytes)
		kept, err := f.Fetch(ctx, fetch.File{Name: local, Bytes: a.Bytes, SHA256: a.SHA256})
		meter.end()
		if err != nil {
			return told(err)
		}
		if err := c.tell(con, a, local, kept); err != nil {
			return err
		}
	}
	return c.complete(con, d)
}

// told gives the errors of fetch their exit codes.
func told(err error) error {
	if errors.Is(err, fetch.ErrExists) {
		return usagef("%w; --force replaces it", err)
	}
	return err
}

func (c *GetCommand) tell(con *console.Console, a jobdoc.Artifact, local string, kept bool) error {
	path := filepath.Join(c.Out, local)
	if con.JSON {
		return con.Document(fetched{Name: a.Name, Path: path, Bytes: a.Bytes, SHA256: a.SHA256, Kept: kept})
	}
	note := ""
	if kept {
		note = "  (was there already)"
	}
	return con.Printf("%s  %s  %s%s\n", path, clockOrDash(a.AudioSeconds), bytesOf(a.Bytes), note)
}

// choose returns the artifacts to fetch, in the job's order.
func (c *GetCommand) choose(d jobdoc.Document) ([]jobdoc.Artifact, error) {
	for _, a := range d.Artifacts {
		if !safeName(a.Name) {
			return nil, fmt.Errorf("the server names a file %q, which could leave the folder: refused", a.Name)
		}
	}
	if len(c.Names) == 0 {
		return d.Artifacts, nil
	}
	var wanted []jobdoc.Artifact
	for _, name := range c.Names {
		i := slices.IndexFunc(d.Artifacts, func(a jobdoc.Artifact) bool { return a.Name == name })
		if i < 0 {
			return nil, missing(d, name)
		}
		if !slices.ContainsFunc(wanted, func(a jobdoc.Artifact) bool { return a.Name == name }) {
			wanted = append(wanted, d.Artifacts[i])
		}
	}
	return wanted, nil
}

func missing(d jobdoc.Document, name string) error {
	there := make([]string, len(d.Artifacts))
	for i, a := range d.Artifacts {
		there[i] = a.Name
	}
	err := fmt.Errorf("job %s has no file %s; there are: %s", d.ID, name, strings.Join(there, ", "))
	if len(there) == 0 {
		err = fmt.Errorf("job %s has no files yet", d.ID)
	}
	if !d.State.Final() {
		return &ExitError{Code: ExitPartial, Err: fmt.Errorf("%w; it is %s", err, d.State)}
	}
	return &ExitError{Code: ExitUsage, Err: err}
}

// nothingYet says why a job has no file at all.
func nothingYet(d jobdoc.Document) error {
	switch {
	case !d.State.Final():
		return &ExitError{Code: ExitPartial, Err: fmt.Errorf("job %s is %s and has no files yet; voicemill watch %s follows it", d.ID, d.State, d.ID)}
	case d.Error != nil:
		return &ExitError{Code: ExitJobFailed, Err: fmt.Errorf("job %s %s: %s", d.ID, d.State, d.Error.Detail)}
	case d.State == job.StateFailed, d.State == job.StateCancelled:
		return &ExitError{Code: ExitJobFailed, Err: fmt.Errorf("job %s is %s and has no files", d.ID, d.State)}
	}
	return fmt.Errorf("job %s is %s and has no files", d.ID, d.State)
}

// complete says whether the files are all that the job will ever have.
func (c *GetCommand) complete(con *console.Console, d jobdoc.Document) error {
	if len(c.Names) > 0 {
		return nil
	}
	if !d.State.Final() {
		con.Hintf("The job is %s: %d of %d chapters are ready. Get the rest later with the same command.",
			d.State, d.Progress.Chapters.Ready, d.Progress.Chapters.Total)
		return &ExitError{Code: ExitPartial}
	}
	return endedAs(d.State)
}

// safeName reports whether name is one plain file name on every system.
func safeName(name string) bool {
	return filepath.IsLocal(name) && name != "." && len(name) <= 200 && !strings.ContainsAny(name, `/\:`) &&
		!strings.ContainsFunc(name, unicode.IsControl) && !strings.HasSuffix(name, fetch.PartSuffix)
}
