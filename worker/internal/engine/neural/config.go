package neural

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine/helper"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
)

// HelperName is the file name of the helper binary.
const HelperName = "voicemill-neural"

// Config configures an [Engine]. Models and Model are needed.
type Config struct {
	Models     weights.Store     // where models are installed
	Model      string            // the name of one
	Helper     string            // path of the helper binary; empty: beside the executable, then in PATH
	Espeak     string            // file name or path of the espeak-ng library; empty: the platform's name
	EspeakData string            // folder that holds espeak-ng-data; empty: the library's own choice
	Helpers    int               // processes, and so texts at once; 0: as many as Threads leaves CPUs for
	Threads    int               // of one helper; 0: 1
	Provider   string            // of ONNX Runtime: cpu or cuda; empty: cpu
	Rate       int               // Hz of the audio; 0: the model's, which needs no resampling
	MaxBatch   int               // 0: 16
	MinTimeout time.Duration     // shortest deadline of a request; 0: 1 min
	MaxAudio   time.Duration     // longest audio for one request, in whole seconds; 0: 15 min
	Voices     map[string]string // further voices: public name to a speaker's, or a blend: af_bella(2)+af_sky(1)
	Logger     *slog.Logger      // nil: no logs
}

const (
	defaultMaxBatch   = 16
	defaultMinTimeout = time.Minute
	defaultMaxAudio   = 15 * time.Minute
	startTimeout      = 60 * time.Second // of a model from a slow disk
	slowest           = 20               // seconds that a second of audio may take
	maxThreads        = 64
)

func (c Config) withDefaults() Config {
	if c.Threads == 0 {
		c.Threads = 1
	}
	if c.Helpers == 0 {
		c.Helpers = max(runtime.GOMAXPROCS(0)/max(c.Threads, 1), 1)
	}
	if c.Provider == "" {
		c.Provider = "cpu"
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
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Threads < 1 || c.Threads > maxThreads {
		errs = append(errs, fmt.Errorf("threads is %d; want 1 to %d", c.Threads, maxThreads))
	}
	if c.MaxBatch < 1 {
		errs = append(errs, fmt.Errorf("max batch is %d; want at least 1", c.MaxBatch))
	}
	if c.Provider != "cpu" && c.Provider != "cuda" {
		errs = append(errs, fmt.Errorf("provider is %q; want cpu or cuda", c.Provider))
	}
	return errors.Join(errs...)
}

// pool is how the helpers of a model are run, from the program at path.
func (c Config) pool(path string, model ask.Model) (helper.Config, error) {
	loaded, err := json.Marshal(model)
	if err != nil {
		return helper.Config{}, err
	}
	return helper.Config{
		Name: "neural", Path: path, Args: []string{"-model", string(loaded)}, Rate: model.Rate, Helpers: c.Helpers,
		StartTimeout: startTimeout, MinTimeout: c.MinTimeout, Slowest: slowest, MaxAudio: c.MaxAudio, Logger: c.Logger,
	}, nil
}

// roles maps what the library calls the files of a family to their names.
var roles = map[string]map[string]string{
	weights.FamilyPiper:  {"model": "model.onnx", "tokens": "tokens.txt"},
	weights.FamilyKokoro: {"model": "model.onnx", "tokens": "tokens.txt", "voices": "voices.bin"},
}

// describe returns what a helper loads for m. The files of a family that has no roles
// here are named by them, with any extension: acoustic_model.onnx.
func (c Config) describe(m weights.Installed, library string) ask.Model {
	model := ask.Model{
		Library: library, Family: m.Family, Files: map[string]string{}, Rate: m.SampleRate, Threads: c.Threads, Provider: c.Provider,
		Espeak: c.Espeak, EspeakData: c.EspeakData, MaxSeconds: int(c.MaxAudio / time.Second),
	}
	for role, file := range roles[m.Family] {
		model.Files[role] = m.Path(file)
	}
	if len(model.Files) == 0 {
		for _, f := range m.Files {
			model.Files[f.Path[:len(f.Path)-len(filepath.Ext(f.Path))]] = m.Path(f.Path)
		}
	}
	return model
}
