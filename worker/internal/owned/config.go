package owned

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Config says what to start, and when to start it anew. A zero means a default, or no
// limit, as is said.
type Config struct {
	Argv     []string // with Port, Port2, Port3 and Replica in it
	Env      []string // all of it; the same are replaced in it
	Dir      string   // where it runs; empty: where the worker does
	Replicas int      // 0: 1

	// Open returns the driver for an engine at address, host:port. It does not talk to it.
	Open func(address string) (engine.Engine, error)
	// Prove has an engine speak a canary, and returns why that was none or, with
	// [engine.ErrRefused], why it is to get no work.
	Prove func(ctx context.Context, e engine.Engine) error

	StartTime time.Duration // from the start until it has proved itself; 0: 10 min
	StopTime  time.Duration // from SIGTERM to its kill; 0: 3 s
	DrainTime time.Duration // for calls of an engine that is replaced; 0: 2 min
	Segments  int           // requests after which it is replaced, ± 10 %; 0: any number
	Age       time.Duration // after which it is replaced, ± 10 %; 0: never
	RSS       int64         // bytes of resident memory above which it is replaced; 0: any. Linux only
	Idle      time.Duration // without a request, after which it is ended until there is one; 0: never
	Asleep    bool          // it is started when there is a request first
	Alone     bool          // there is no room for two: the old one ends before the new one starts

	Look     time.Duration // how often memory and idleness are looked at; 0: 5 s
	MinPause time.Duration // before a start after one that failed, doubling to MaxPause; 0: 250 ms
	MaxPause time.Duration // 0: 1 min
	Log      *slog.Logger
}

// What stands for something else in Argv and Env. The ports are free ones of this
// machine, new at each start.
const (
	Port    = "{port}" // where the engine is to listen
	Port2   = "{port2}"
	Port3   = "{port3}"
	Replica = "{replica}" // 0 and up
)

const maxReplicas = 64

func (c Config) withDefaults() Config {
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.StartTime = cmp.Or(c.StartTime, 10*time.Minute)
	c.StopTime = cmp.Or(c.StopTime, 3*time.Second)
	c.DrainTime = cmp.Or(c.DrainTime, 2*time.Minute)
	c.Look = cmp.Or(c.Look, 5*time.Second)
	c.MinPause = cmp.Or(c.MinPause, 250*time.Millisecond)
	c.MaxPause = cmp.Or(c.MaxPause, time.Minute)
	if c.Age == 0 {
		c.Age = 100 * 365 * 24 * time.Hour
	}
	return c
}

// Validate reports settings that make no sense.
func (c Config) Validate() error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("command: argv is empty; want a program and what it is told")
	}
	if !strings.Contains(strings.Join(append(c.Argv, c.Env...), "\n"), Port) {
		return fmt.Errorf("command: neither argv nor env has %s in it, where the engine is to listen", Port)
	}
	if c.Replicas < 0 || c.Replicas > maxReplicas {
		return fmt.Errorf("command: replicas is %d; want 1 to %d", c.Replicas, maxReplicas)
	}
	if min(c.StartTime, c.StopTime, c.DrainTime, c.Age, c.Idle, c.Look, c.MinPause, c.MaxPause) < 0 || c.Segments < 0 || c.RSS < 0 {
		return errors.New("command: no number may be negative")
	}
	return nil
}
