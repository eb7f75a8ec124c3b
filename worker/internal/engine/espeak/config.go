package espeak

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
)

// HelperName is the file name of the helper binary.
const HelperName = "voicemill-espeak"

const nativeRate = 22050 // of every voice that comes with espeak-ng

// Config configures an [Engine]. The zero value works where espeak-ng is
// installed and the helper lies beside the executable.
type Config struct {
	Helper     string            // path of the helper binary; empty: beside the executable, then in PATH
	Library    string            // file name or path of the espeak-ng library; empty: the platform's name
	DataPath   string            // folder that holds espeak-ng-data; empty: the library's own choice
	Helpers    int               // processes, and so texts at once; 0: one for each CPU that Go uses
	Rate       int               // Hz of the audio; 0: 22050, which needs no resampling
	MaxBatch   int               // 0: 16
	MinTimeout time.Duration     // shortest deadline of a request; 0: 10 s
	MaxAudio   time.Duration     // longest audio for one request, in whole seconds; 0: 15 min
	Voices     map[string]string // further voices: public name to espeak-ng voice name
	Logger     *slog.Logger      // nil: no logs
}

const (
	defaultMaxBatch   = 16
	defaultMinTimeout = 10 * time.Second
	defaultMaxAudio   = 15 * time.Minute
	maxHelpers        = 256
)

func (c Config) withDefaults() Config {
	if c.Helpers == 0 {
		c.Helpers = runtime.GOMAXPROCS(0)
	}
	if c.Rate == 0 {
		c.Rate = nativeRate
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = defaultMaxBatch
	}
	if c.MinTimeout == 0 {
		c.MinTimeout = defaultMinTimeout
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
	if c.MaxBatch < 1 {
		errs = append(errs, fmt.Errorf("max batch is %d; want at least 1", c.MaxBatch))
	}
	if c.MinTimeout < 0 {
		errs = append(errs, fmt.Errorf("min timeout is %s; want more than 0", c.MinTimeout))
	}
	if c.MaxAudio < time.Second {
		errs = append(errs, fmt.Errorf("max audio is %s; want at least 1s", c.MaxAudio))
	}
	for name, voice := range c.Voices {
		if name == "" || voice == "" {
			errs = append(errs, fmt.Errorf("voice %q is %q; want two names", name, voice))
		}
	}
	return errors.Join(errs...)
}

// FindHelper returns the path of the helper binary: configured if that is not
// empty, else beside the executable, else in PATH. The error says how to build
// it.
func FindHelper(configured string) (string, error) {
	if configured != "" {
		if err := executable(configured); err != nil {
			return "", missing(err)
		}
		return configured, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), HelperName)
		if executable(beside) == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(HelperName)
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

func missing(err error) error {
	return &job.Error{
		Op: "espeak.FindHelper", Kind: job.Unavailable,
		Public: fmt.Sprintf("The helper program %s was not found; build it with: go build -o bin/ ./worker/cmd/%s", HelperName, HelperName),
		Err:    err,
	}
}
