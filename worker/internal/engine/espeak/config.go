package espeak

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine/helper"
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
	defaultMaxBatch = 16
	defaultMaxAudio = 15 * time.Minute
)

func (c Config) withDefaults() Config {
	if c.Rate == 0 {
		c.Rate = nativeRate
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = defaultMaxBatch
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
	if c.MaxBatch < 1 {
		errs = append(errs, fmt.Errorf("max batch is %d; want at least 1", c.MaxBatch))
	}
	for name, voice := range c.Voices {
		if name == "" || voice == "" {
			errs = append(errs, fmt.Errorf("voice %q is %q; want two names", name, voice))
		}
	}
	return errors.Join(errs...)
}

// pool is how the helpers are run, from the program at path.
func (c Config) pool(path string) helper.Config {
	args := []string{"-max-seconds", strconv.Itoa(int(c.MaxAudio / time.Second))}
	if c.Library != "" {
		args = append(args, "-library", c.Library)
	}
	if c.DataPath != "" {
		args = append(args, "-data", c.DataPath)
	}
	return helper.Config{
		Name: "espeak", Path: path, Args: args, Rate: nativeRate, Helpers: c.Helpers, MinTimeout: c.MinTimeout, MaxAudio: c.MaxAudio,
		RecycleAfter: recycleAfter, Logger: c.Logger,
	}
}
