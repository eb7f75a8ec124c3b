package helper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// Config configures a [Pool]. Name, Path and Rate are needed.
type Config struct {
	Name         string                 // the driver, for errors: "espeak"
	Path         string                 // of the program
	Args         []string               // of the program
	Rate         int                    // Hz of what helpers say; another one is refused
	Accept       func(wire.Hello) error // refuses a helper for what it says of itself; nil: takes any
	Helpers      int                    // processes, and so texts at once; 0: one for each CPU that Go uses
	StartTimeout time.Duration          // from start to hello; 0: 10 s
	MinTimeout   time.Duration          // shortest deadline of a request; 0: 10 s
	Slowest      float64                // seconds that a second of audio may take; 0: 1
	MaxAudio     time.Duration          // longest audio for one request, in whole seconds; 0: 15 min
	RecycleAfter int                    // requests that one process answers; 0: any number
	Logger       *slog.Logger           // nil: no logs
}

const (
	defaultStartTimeout = 10 * time.Second
	defaultMinTimeout   = 10 * time.Second
	defaultMaxAudio     = 15 * time.Minute
	maxHelpers          = 256
)

func (c Config) withDefaults() Config {
	if c.Helpers == 0 {
		c.Helpers = runtime.GOMAXPROCS(0)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if c.MinTimeout == 0 {
		c.MinTimeout = defaultMinTimeout
	}
	if c.Slowest == 0 {
		c.Slowest = 1
	}
	if c.MaxAudio == 0 {
		c.MaxAudio = defaultMaxAudio
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Helpers < 1 || c.Helpers > maxHelpers {
		errs = append(errs, fmt.Errorf("helpers is %d; want 1 to %d", c.Helpers, maxHelpers))
	}
	if c.MinTimeout < 0 {
		errs = append(errs, fmt.Errorf("min timeout is %s; want more than 0", c.MinTimeout))
	}
	if c.MaxAudio < time.Second {
		errs = append(errs, fmt.Errorf("max audio is %s; want at least 1s", c.MaxAudio))
	}
	return errors.Join(errs...)
}

// Find returns the path of a helper program: configured if that is not empty,
// else beside the executable, else in PATH. The error says how to build it.
func Find(name, configured string) (string, error) {
	missing := func(err error) error {
		return &job.Error{
			Op: "helper.Find", Kind: job.Unavailable,
			Public: fmt.Sprintf("The helper program %s was not found; build it with: go build -o bin/ ./worker/cmd/%s", name, name),
			Err:    err,
		}
	}
	if configured != "" {
		if err := executable(configured); err != nil {
			return "", missing(err)
		}
		return configured, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if executable(beside) == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", missing(err)
	}
	return path, nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}
