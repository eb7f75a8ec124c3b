package engineset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/owned"
)

// Command is a program that the worker starts as an engine of its own: see package
// owned. In Argv and Env {port}, {port2} and {port3} stand for free ports of this
// machine, the first of which the driver speaks to, and {replica} for a number.
type Command struct {
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env,omitempty"` // beside the worker's own without VOICEMILL_*
	Dir      string            `json:"dir,omitempty"`
	Replicas int               `json:"replicas,omitempty"` // 1

	StartSeconds float64 `json:"start_seconds,omitempty"` // until it has spoken; 600
	Segments     int     `json:"segments,omitempty"`      // after which it is replaced; any number
	AgeHours     float64 `json:"age_hours,omitempty"`     // after which it is replaced; never
	MemoryMB     int     `json:"memory_mb,omitempty"`     // above which it is replaced; any
	IdleSeconds  float64 `json:"idle_seconds,omitempty"`  // after which it is ended until there is work; never
	Alone        bool    `json:"alone,omitempty"`         // there is no room for two: the old one ends before the new one starts
}

// secrets begin the names of the worker's own settings, which an engine is not told.
const secrets = "VOICEMILL_"

func (c *Command) config(log *slog.Logger, open func(address string) (engine.Engine, error)) owned.Config {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, secrets) })
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name])
	}
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	return owned.Config{
		Argv: c.Argv, Env: env, Dir: c.Dir, Replicas: c.Replicas, Open: open, StartTime: seconds(c.StartSeconds), Segments: c.Segments,
		Age: seconds(c.AgeHours * 3600), RSS: int64(c.MemoryMB) << 20, Idle: seconds(c.IdleSeconds), Alone: c.Alone, Log: log,
	}
}

// validateCommand reports what is wrong with the command of p, which has one.
func (p Pool) validateCommand() error {
	switch p.Engine {
	case OpenAISpeech, Triton:
	default:
		return fmt.Errorf("a command is for %q and %q; %q starts its own helpers", OpenAISpeech, Triton, p.Engine)
	}
	if len(p.OpenAI.Backends)+len(p.Triton.Backends) > 0 {
		return errors.New("it has backends and a command; want one of them")
	}
	for _, n := range []float64{p.Command.StartSeconds, p.Command.AgeHours, p.Command.IdleSeconds} {
		if !(n >= 0 && n < 1e6) {
			return fmt.Errorf("command: %g is not a number of seconds or hours from 0 to a million", n)
		}
	}
	return p.Command.config(nil, nil).Validate()
}

// openCommand returns an engine for each replica of the pool's command.
func (p Pool) openCommand(ear fleet.Ear, log *slog.Logger) ([]engine.Engine, error) {
	c := p.Command.config(log, func(address string) (engine.Engine, error) {
		q := p
		q.Command = nil
		q.OpenAI.Backends, q.Triton.Backends = []string{"http://" + address}, []string{address}
		one, err := q.dial()
		if err != nil {
			return nil, err
		}
		return one[0], nil
	})
	var heard atomic.Bool // an engine was: what is started again is the same build
	c.Prove = func(ctx context.Context, e engine.Engine) error {
		hears := ear
		if heard.Load() {
			hears = nil
		}
		err := p.prove(ctx, hears, e)
		if err == nil {
			heard.Store(true)
		}
		return err
	}
	all, err := owned.New(c)
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", p.Name, err)
	}
	engines := make([]engine.Engine, len(all))
	for i, e := range all {
		engines[i] = e
	}
	return engines, nil
}

// prove has an engine that was just started speak a canary, and be admitted, by ear too
// if there is one.
func (p Pool) prove(ctx context.Context, ear fleet.Ear, e engine.Engine) error {
	if err := fleet.Prove(ctx, e); err != nil {
		return err
	}
	a := p.Admit(ear)
	if a == nil {
		return nil
	}
	return a.Admit(ctx, e, max(e.Info().Window, p.Calls*max(1, p.Batch)))
}
