package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/hear"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
	"github.com/voicemill/voicemill/worker/internal/meter"
)

// The words that Ear may be beside addresses.
const (
	earAuto = "auto"
	earNone = "none"
)

// EarConfig says what hears back what was spoken, for jobs that want that.
type EarConfig struct {
	Ear         string        `help:"What hears back what was spoken: auto is the recogniser that is installed on this machine, if one is, none is nothing; or the address of a server that answers /v1/audio/transcriptions as OpenAI's does, several with commas." default:"auto"`
	EarDir      string        `help:"Folder in which the recogniser's server is installed (deployments/engines/ear/install); without one, ear beside the folder of the models." placeholder:"DIR"`
	EarModel    string        `help:"The recogniser: an installed model (voicemill models), or what the server calls it; without one, whisper-base, or whisper-1." placeholder:"NAME"`
	EarKey      config.Secret `help:"Key that the server is sent." placeholder:"KEY"`
	EarThreads  int           `help:"Threads of the installed recogniser; 0: one for every four CPUs." default:"0"`
	EarWindow   int           `help:"Segments with one recogniser at once." default:"2"`
	EarShare    float64       `help:"Of the segments of a job with verify: sample, the share that is heard beside those that look odd, 0 to 1." default:"0.1"`
	EarPatience time.Duration `help:"How long segments wait in all for a recogniser that is away; then they are delivered unheard." default:"1m"`
}

// DefaultEarConfig returns the defaults that the tags of [EarConfig] name.
func DefaultEarConfig() EarConfig {
	return EarConfig{Ear: earAuto, EarWindow: 2, EarShare: 0.1, EarPatience: time.Minute}
}

// Rules are what the settings must keep.
func (c EarConfig) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`ear-window` must be positive, `ear-threads` and `ear-patience` not negative", Kept: c.EarWindow > 0 && c.EarThreads >= 0 && c.EarPatience >= 0},
		{Says: "`ear-share` must be from 0 to 1", Kept: c.EarShare >= 0 && c.EarShare <= 1},
		config.ByFault("`ear` must be auto, none, or http or https addresses", c.validServers()),
	}
}

// servers returns the addresses that were named.
func (c EarConfig) servers() []string {
	if c.Ear == earAuto || c.Ear == earNone {
		return nil
	}
	all := strings.Split(c.Ear, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func (c EarConfig) server(address string) transcribe.Config {
	return transcribe.Config{Backend: address, Model: c.EarModel, APIKey: c.EarKey, Window: c.EarWindow}
}

func (c EarConfig) validServers() (err error) {
	for _, address := range c.servers() {
		err = errors.Join(err, c.server(address).Validate())
	}
	return err
}

// FindEar returns what would hear, in words, with models in modelsDir; without an ear, the
// error says in one sentence what is missing, and how to install it.
func (c EarConfig) FindEar(modelsDir string) (what string, err error) {
	switch servers := c.servers(); {
	case c.Ear == earNone:
		return "", &job.Error{Op: "worker.FindEar", Kind: job.NotFound, Public: "No ear is wanted: ear is none."}
	case len(servers) > 0:
		return strings.Join(servers, ", "), nil
	}
	in, err := c.find(modelsDir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s with %s", in.Model, in.Server), nil
}

func (c EarConfig) find(modelsDir string) (hear.Installation, error) {
	models := cmp.Or(modelsDir, weights.DefaultDir())
	return hear.Find(cmp.Or(c.EarDir, filepath.Join(filepath.Dir(models), "ear")), models, cmp.Or(c.EarModel, hear.DefaultModel))
}

// openEars returns what hears; nil, which is said in one sentence, if nothing does.
func (c Config) openEars(ctx context.Context, m *meter.Meter, log *slog.Logger) (*hear.Ears, error) {
	e := c.Ear
	if e.Ear == earNone {
		return nil, nil //nolint:nilnil // none is wanted
	}
	var ears []hear.Ear
	for _, address := range e.servers() {
		one, err := transcribe.New(e.server(address))
		if err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
		ears = append(ears, one)
	}
	if len(ears) == 0 {
		in, err := e.find(c.ModelsDir)
		if job.KindOf(err) == job.NotFound {
			log.InfoContext(ctx, "nothing that is spoken can be heard back", slog.String("reason", job.PublicOf(err, "")))
			return nil, nil //nolint:nilnil // none is there
		}
		if err != nil {
			log.WarnContext(ctx, "the installed ear is not used", slog.String("error", err.Error()))
			return nil, nil //nolint:nilnil // likewise
		}
		own, err := hear.Start(in, cmp.Or(e.EarThreads, max(1, runtime.NumCPU()/4)), log) //nolint:contextcheck // it lives until it is closed
		if err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
		ears = append(ears, own)
	}
	return hear.New(hear.Config{Window: e.EarWindow, Patience: e.EarPatience, Share: e.EarShare, Meter: m, Log: log}, ears...)
}
