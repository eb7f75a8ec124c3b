package hear

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
	"github.com/voicemill/voicemill/worker/internal/owned"
)

// DefaultModel is the recogniser that an installed ear hears with.
const DefaultModel = "whisper-base"

// Installation is an ear that can be started on this machine.
type Installation struct {
	Python, Server string // programs
	Model          string // folder
}

// Find returns the ear whose server is in the folder dir and whose model is installed in
// models. An error of kind NotFound says in one sentence what is not installed, and how
// to install it.
func Find(dir, models, model string) (Installation, error) {
	missing := func(what, mend string, err error) (Installation, error) {
		return Installation{}, &job.Error{Op: "hear.Find", Kind: job.NotFound, Public: fmt.Sprintf("%s is not installed: %s", what, mend), Err: err}
	}
	m, err := weights.Open(models).Get(model)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			return missing("The ear's model "+model, m.Mend(), err)
		}
		return Installation{}, err //nolint:wrapcheck // says what mends it
	}
	if m.Kind != weights.KindEar {
		return Installation{}, &job.Error{Op: "hear.Find", Kind: job.Invalid, Public: fmt.Sprintf("The model %s is no ear but of the kind %s.", model, m.Kind)}
	}
	found := Installation{Python: filepath.Join(dir, "bin", "python"), Server: filepath.Join(dir, "serve.py"), Model: m.Dir}
	for _, path := range []string{filepath.Join(dir, "requirements.txt"), found.Python, found.Server} { // the first is there when all of it is
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return missing("The ear's server in "+dir, "deployments/engines/ear/install "+dir, err)
		} else if err != nil {
			return Installation{}, fmt.Errorf("look for the ear: %w", err)
		}
	}
	return found, nil
}

const (
	startTime = 2 * time.Minute
	idle      = 10 * time.Minute
	maxRSS    = 4 << 30
	// It shares the machine with the engines, and half of what it has waits its turn.
	minTimeout = 2 * time.Minute
	// The server hears one segment and has another wait.
	ownWindow = 2
)

// Start returns an ear that is started when a segment is to be heard, and ended when none
// was for ten minutes. It has so many threads.
func Start(in Installation, threads int, log *slog.Logger) (Ear, error) {
	all, err := owned.New(owned.Config{
		Argv: []string{in.Python, in.Server, in.Model, "--port", owned.Port, "--threads", strconv.Itoa(threads), "--with-parent"},
		Env:  environment(), Asleep: true, Idle: idle, StartTime: startTime, RSS: maxRSS, Log: log, Prove: prove,
		Open: func(address string) (engine.Engine, error) {
			e, err := transcribe.New(transcribe.Config{Backend: "http://" + address, Window: ownWindow, MinTimeout: minTimeout})
			if err != nil {
				return nil, err //nolint:wrapcheck // says what is wrong
			}
			return mute{e}, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start the ear: %w", err)
	}
	return ownedEar{all[0]}, nil
}

// environment is the worker's own without its settings, which the ear is not told.
func environment() (env []string) {
	for _, s := range os.Environ() {
		if !strings.HasPrefix(s, "VOICEMILL_") {
			env = append(env, s)
		}
	}
	return env
}

// ownedEar is an ear that package owned has.
type ownedEar struct{ *owned.Engine }

// Hear implements [Ear].
func (o ownedEar) Hear(ctx context.Context, audio engine.Audio, language string) (t transcribe.Transcript, err error) {
	failed := o.Do(1, func(driver engine.Engine) {
		if e, ok := driver.(mute); ok {
			t, err = e.Hear(ctx, audio, language)
		}
	})
	return t, errors.Join(failed, err)
}

// mute is an ear as an engine, which package owned can have in a place. It never speaks.
type mute struct{ *transcribe.Ear }

// Info implements [engine.Engine].
func (mute) Info() engine.Info { return engine.Info{Name: "ear", Window: ownWindow, MaxBatch: 1} }

// Synthesize implements [engine.Engine].
func (mute) Synthesize(context.Context, []engine.Request) ([]engine.Result, error) {
	return nil, &job.Error{Op: "hear.Synthesize", Kind: job.Internal, Err: errors.New("an ear does not speak")}
}

// prove has e hear half a second of a tone: whatever it makes of it, it has loaded its model.
func prove(ctx context.Context, e engine.Engine) error {
	const rate = 16000
	tone := make([]int16, rate/2)
	for i := range tone {
		tone[i] = int16(3000 * math.Sin(float64(i)/10))
	}
	if m, ok := e.(mute); ok {
		_, err := m.Hear(ctx, engine.Audio{Rate: rate, Samples: tone}, "en")
		return err //nolint:wrapcheck // a *job.Error
	}
	return errors.New("it is no ear")
}
