package engineset

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak"
	"github.com/voicemill/voicemill/worker/internal/engine/helper"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
	"github.com/voicemill/voicemill/worker/internal/engine/openaispeech"
	"github.com/voicemill/voicemill/worker/internal/engine/triton"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// The drivers that a Pool may name.
const (
	Espeak       = "espeak"
	OpenAISpeech = "openai-speech"
	Triton       = "triton"
	Neural       = "neural"
)

var poolName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// Pool describes one pool: engines that serve the same voices. The zero value
// of every field but Name and Engine means its default.
type Pool struct {
	Name   string `json:"name"`   // 1 to 32 of [a-z0-9_-]
	Engine string `json:"engine"` // "espeak", "neural", "openai-speech" or "triton"
	Rate   int    `json:"sample_rate,omitempty"`

	Calls        int     `json:"calls,omitempty"`         // engine calls at once; what the engines are found to be worth having, up to their window
	EasedCalls   int     `json:"eased_calls,omitempty"`   // of these, what bulk work fills while interactive work comes; found likewise, and 3 in 8 of calls
	Batch        int     `json:"batch,omitempty"`         // segments of one call; 1, which suits engines that batch by themselves
	BatchSeconds float64 `json:"batch_seconds,omitempty"` // predicted audio of one call; 240
	WaitSeconds  float64 `json:"wait_seconds,omitempty"`  // how long a segment waits for company; 0.05
	InHand       int     `json:"in_hand,omitempty"`       // segments of one class in hand; four calls' worth for each call

	Espeak EspeakConfig `json:"espeak,omitzero"`
	OpenAI OpenAIConfig `json:"openai,omitzero"`
	Triton TritonConfig `json:"triton,omitzero"`
	Neural NeuralConfig `json:"neural,omitzero"`

	Admission string `json:"admission,omitempty"` // "off": whoever speaks a canary gets work

	Command *Command `json:"command,omitempty"` // starts the engines, in place of backends
}

// EspeakConfig is for the driver [Espeak].
type EspeakConfig struct {
	Helper   string            `json:"helper,omitempty"`  // path of voicemill-espeak; beside the executable, then in PATH
	Library  string            `json:"library,omitempty"` // the espeak-ng library
	DataPath string            `json:"data_path,omitempty"`
	Helpers  int               `json:"helpers,omitempty"` // processes; one for each CPU
	Voices   map[string]string `json:"voices,omitempty"`  // further voices: public name to espeak-ng's
}

// NeuralConfig is for the driver [Neural].
type NeuralConfig struct {
	Model     string            `json:"model"`                // the name of one that is installed
	ModelsDir string            `json:"models_dir,omitempty"` // where models are installed; the worker's
	Helper    string            `json:"helper,omitempty"`     // path of voicemill-neural; beside the executable, then in PATH
	Library   string            `json:"library,omitempty"`    // the espeak-ng library
	DataPath  string            `json:"data_path,omitempty"`  // of espeak-ng
	Helpers   int               `json:"helpers,omitempty"`    // processes; as many as threads leaves CPUs for
	Threads   int               `json:"threads,omitempty"`    // of each; 1
	Provider  string            `json:"provider,omitempty"`   // cpu or cuda
	Voices    map[string]string `json:"voices,omitempty"`     // further voices: public name to a speaker, or a blend
}

// OpenAIConfig is for the driver [OpenAISpeech].
type OpenAIConfig struct {
	Backends     []string         `json:"backends"`
	Dialect      string           `json:"dialect,omitempty"` // generic, vllm-omni or sglang-omni
	Model        string           `json:"model,omitempty"`
	APIKey       config.Secret    `json:"api_key,omitzero"`
	Voices       map[string]Voice `json:"voices"`
	Default      string           `json:"default,omitempty"`
	Instructions bool             `json:"instructions,omitempty"` // the model takes them with each request
	BackendRate  int              `json:"backend_sample_rate,omitempty"`
	Window       int              `json:"window,omitempty"` // requests in flight for each backend
	MaxTextBytes int              `json:"max_text_bytes,omitempty"`
	Timeout
}

// TritonConfig is for the driver [Triton].
type TritonConfig struct {
	Backends     []string             `json:"backends"`        // host:port of the gRPC service; grpcs://host:port with TLS
	Model        string               `json:"model,omitempty"` // cosyvoice3
	Voices       map[string]Reference `json:"voices"`
	Default      string               `json:"default,omitempty"`
	Instructions bool                 `json:"instructions,omitempty"` // the model takes them with each request
	BackendRate  int                  `json:"backend_sample_rate,omitempty"`
	Window       int                  `json:"window,omitempty"` // requests in flight for each backend
	MaxTokens    int                  `json:"max_tokens,omitempty"`
	MaxTextBytes int                  `json:"max_text_bytes,omitempty"`
	Timeout
}

// Timeout is how long a server may take: Factor times the predicted length and a third
// of Least, but at least Least.
type Timeout struct {
	Least  float64 `json:"timeout_seconds,omitempty"` // 15
	Factor float64 `json:"timeout_factor,omitempty"`  // 6
}

func (t Timeout) least() time.Duration { return time.Duration(t.Least * float64(time.Second)) }

func (t Timeout) validate() error {
	if t.Least == 0 && t.Factor == 0 {
		return nil
	}
	if !(t.Least >= 0 && t.Least <= 3600) || t.Factor != 0 && !(t.Factor >= 1 && t.Factor <= 1000) {
		return fmt.Errorf("timeout_seconds is %g and timeout_factor %g; want up to an hour, and 1 to 1000", t.Least, t.Factor)
	}
	return nil
}

// Reference is a recording that a model speaks like.
type Reference struct {
	Language string `json:"language,omitempty"` // BCP 47
	RefAudio string `json:"ref_audio"`
	RefText  string `json:"ref_text"`
}

// Voice is what a backend of [OpenAISpeech] is told about a public voice.
type Voice struct {
	Name         string `json:"name,omitempty"`
	Language     string `json:"language,omitempty"` // BCP 47
	RefAudio     string `json:"ref_audio,omitempty"`
	RefText      string `json:"ref_text,omitempty"`
	Instructions string `json:"instructions,omitempty"`
}

// Default is one pool of espeak-ng, which needs nothing but the machine.
func Default() []Pool { return []Pool{{Name: "espeak", Engine: Espeak}} }

// Installed returns a pool for each voice that is installed in the folder dir, in the
// order of the catalogue, and why there are none although something is installed. All
// speak at the highest of their rates: a chapter in two languages may have two voices,
// and what is joined has one rate.
func Installed(dir string) (pools []Pool, missing, err error) {
	catalogue, err := weights.OpenCatalogue("")
	if err != nil {
		return nil, nil, err
	}
	voices, err := weights.Open(dir).Voices(catalogue)
	if err != nil || len(voices) == 0 {
		return nil, nil, err
	}
	if _, err := helper.Find(neural.HelperName, ""); err != nil {
		return nil, err, nil
	}
	rate := 0
	for _, m := range voices {
		rate = max(rate, m.SampleRate)
	}
	for _, m := range voices {
		pools = append(pools, Pool{Name: m.Name, Engine: Neural, Rate: rate, Neural: NeuralConfig{Model: m.Name, ModelsDir: dir}})
	}
	return pools, nil, nil
}

// Read reads pools from JSON: {"pools": [...]}. Unknown members are errors.
func Read(r io.Reader) ([]Pool, error) {
	var file struct {
		Pools []Pool `json:"pools"`
	}
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("read the pools: %w", err)
	}
	if d.More() {
		return nil, errors.New("read the pools: something follows the closing brace")
	}
	return file.Pools, Validate(file.Pools)
}

// Validate reports everything in pools that makes no sense and can be seen
// without starting an engine.
func Validate(pools []Pool) error {
	if len(pools) == 0 {
		return errors.New("no pools; a worker needs at least one")
	}
	var errs []error
	seen := map[string]bool{}
	for i, p := range pools {
		switch {
		case !poolName.MatchString(p.Name):
			errs = append(errs, fmt.Errorf("pool %d is called %q; want 1 to 32 of a-z, 0-9, - and _", i+1, p.Name))
		case seen[p.Name]:
			errs = append(errs, fmt.Errorf("pool %s is there twice", p.Name))
		case p.Engine != Espeak && p.Engine != OpenAISpeech && p.Engine != Triton && p.Engine != Neural:
			errs = append(errs, p.unknownEngine())
		case p.Engine == Neural && p.Neural.Model == "":
			errs = append(errs, fmt.Errorf("pool %s: neural needs a model", p.Name))
		}
		seen[p.Name] = true
		if p.Command != nil {
			if err := p.validateCommand(); err != nil {
				errs = append(errs, fmt.Errorf("pool %s: %w", p.Name, err))
			}
		}
		if err := errors.Join(p.OpenAI.validate(), p.Triton.validate()); err != nil {
			errs = append(errs, fmt.Errorf("pool %s: %w", p.Name, err))
		}
		if p.Admission != "" && p.Admission != admissionOff {
			errs = append(errs, fmt.Errorf("pool %s: admission is %q; want %q, or nothing", p.Name, p.Admission, admissionOff))
		}
		if p.EasedCalls < 0 || p.Calls > 0 && p.EasedCalls > p.Calls {
			errs = append(errs, fmt.Errorf("pool %s: eased_calls is %d; want 0 to calls, which is %d", p.Name, p.EasedCalls, p.Calls))
		}
		if p.Calls < 0 || p.Batch < 0 || p.InHand < 0 || p.Rate < 0 || !(p.BatchSeconds >= 0) || !(p.WaitSeconds >= 0) {
			errs = append(errs, fmt.Errorf("pool %s: no number may be negative", p.Name))
		}
	}
	return errors.Join(errs...)
}

func (p Pool) unknownEngine() error {
	return fmt.Errorf("pool %s: engine is %q; want %q, %q, %q or %q", p.Name, p.Engine, Espeak, Neural, OpenAISpeech, Triton)
}

// Open returns a driver for each address of a pool's engines. The caller closes them. ear
// hears those that a command starts before they serve; nil if nothing does.
func Open(ctx context.Context, p Pool, ear fleet.Ear, log *slog.Logger) ([]engine.Engine, error) {
	log = log.With(slog.String("pool", p.Name))
	switch p.Engine {
	case Espeak:
		e, err := espeak.New(ctx, espeak.Config{
			Helper: p.Espeak.Helper, Library: p.Espeak.Library, DataPath: p.Espeak.DataPath, Helpers: p.Espeak.Helpers,
			Voices: p.Espeak.Voices, Rate: p.Rate, MaxBatch: p.Batch, Logger: log,
		})
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		return []engine.Engine{e}, nil
	case Neural:
		e, err := neural.New(ctx, neuralConfig(p, log))
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		return []engine.Engine{e}, nil
	}
	if p.Command != nil {
		return p.openCommand(ear, log) //nolint:contextcheck // they live until they are closed
	}
	return p.dial()
}

// dial returns the drivers of an engine that is a server.
func (p Pool) dial() ([]engine.Engine, error) {
	switch p.Engine {
	case OpenAISpeech:
		return drivers(p, openaispeech.New, openAI(p))
	case Triton:
		return drivers(p, triton.New, tritonOf(p))
	}
	return nil, p.unknownEngine()
}

// drivers opens the engines of a driver that has one for each address.
func drivers[C any, E engine.Engine](p Pool, open func(C) ([]E, error), config C) ([]engine.Engine, error) {
	all, err := open(config)
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", p.Name, err)
	}
	engines := make([]engine.Engine, len(all))
	for i, e := range all {
		engines[i] = e
	}
	return engines, nil
}

func tritonOf(p Pool) triton.Config {
	voices := make(map[string]triton.Voice, len(p.Triton.Voices))
	for name, v := range p.Triton.Voices {
		voices[name] = triton.Voice{Language: v.Language, RefAudio: v.RefAudio, RefText: v.RefText}
	}
	return triton.Config{
		Backends: p.Triton.Backends, Model: p.Triton.Model, Voices: voices, Default: p.Triton.Default, Instructions: p.Triton.Instructions, BackendRate: p.Triton.BackendRate,
		Window: p.Triton.Window, MaxBatch: p.Batch, MaxTextBytes: p.Triton.MaxTextBytes, MaxTokens: p.Triton.MaxTokens,
		MinTimeout: p.Triton.least(), TimeoutFactor: p.Triton.Factor,
	}
}

func neuralConfig(p Pool, log *slog.Logger) neural.Config {
	n := p.Neural
	return neural.Config{
		Models: weights.Open(cmp.Or(n.ModelsDir, weights.DefaultDir())), Model: n.Model, Helper: n.Helper, Espeak: n.Library, EspeakData: n.DataPath,
		Helpers: n.Helpers, Threads: n.Threads, Provider: n.Provider, Voices: n.Voices, Rate: p.Rate, MaxBatch: p.Batch, Logger: log,
	}
}

func openAI(p Pool) openaispeech.Config {
	voices := make(map[string]openaispeech.Voice, len(p.OpenAI.Voices))
	for name, v := range p.OpenAI.Voices {
		voices[name] = openaispeech.Voice{Name: v.Name, Language: v.Language, RefAudio: v.RefAudio, RefText: v.RefText, Instructions: v.Instructions}
	}
	return openaispeech.Config{
		Backends: p.OpenAI.Backends, Dialect: openaispeech.Dialect(p.OpenAI.Dialect), Model: p.OpenAI.Model, APIKey: p.OpenAI.APIKey,
		Voices: voices, Default: p.OpenAI.Default, Instructions: p.OpenAI.Instructions, BackendRate: p.OpenAI.BackendRate, Window: p.OpenAI.Window,
		MaxBatch: p.Batch, MaxTextBytes: p.OpenAI.MaxTextBytes, MinTimeout: p.OpenAI.least(), TimeoutFactor: p.OpenAI.Factor,
	}
}

const admissionOff = "off"

// Admit returns how a new engine of the pool gets work; nil if there is nothing to
// prove: helpers on this machine speak one text at a time each. ear hears it; nil if
// nothing does.
func (p Pool) Admit(ear fleet.Ear) *fleet.Admission {
	if p.Admission == admissionOff || p.Engine == Espeak || p.Engine == Neural {
		return nil
	}
	a := fleet.DefaultAdmission()
	a.Ear = ear
	return &a
}

// Check returns the limits for what the pool's engine says. A rule-based engine
// speaks what it is given: its length tells how rough the prediction was, and
// trying again would change nothing.
func (p Pool) Check() check.Config {
	c := check.Default()
	if p.Engine == Espeak {
		c.MinRatio, c.MaxRatio, c.Slack, c.MaxSilence = 0.05, 20, 5, 15
	}
	return c
}
