package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestTwoWorkersShareAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := &scripted{}, &scripted{}
	w.start(t, quickConfig(), one, nil)
	w.start(t, quickConfig(), two, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(40)...), plantest.Sentences("Two", "And one more."))
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	w.checkBook(t, p.ID)
	w.requireOnce(t, p.ID, 41, 2)
	for _, text := range texts(40) {
		require.Equal(t, 1, one.times(text)+two.times(text), "%q was spoken more than once", text)
	}
}

func TestAStopGivesBackWhatHasNotBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun := make(chan struct{}, 100)
	e := &scripted{before: func(ctx context.Context, _ int, _ []engine.Request) error {
		begun <- struct{}{}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
		return nil
	}}
	cfg := quickConfig()
	cfg.CallTime = time.Minute
	stop := w.start(t, cfg, e, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(30)...))
	<-begun
	<-begun
	at := time.Now()
	stop()
	took := time.Since(at)
	require.Less(t, took, cfg.Grace+lastGroup+poll, "the stop took %s", took)
	done := w.number(t, `select segments_done from jobs where id = $1`, p.ID)
	require.Positive(t, done, "what ran was not finished")
	require.Equal(t, 30-done, w.number(t, `select sum(bit_count(mask::bit(64))) from outstanding where job = $1`, p.Num))
	require.Zero(t, w.number(t, `select sum(started) from outstanding where job = $1`, p.Num), "what was given back counts as died")
	free, err := w.bus.FetchWork(t.Context(), "test", job.Bulk, 100, 0)
	require.NoError(t, err)
	require.Len(t, free, w.number(t, `select count(*) from outstanding where job = $1`, p.Num), "messages are still with a worker that has ended")
	for _, m := range free {
		require.NoError(t, m.Nak())
	}

	w.start(t, quickConfig(), &scripted{}, nil)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	w.requireOnce(t, p.ID, 30, 1)
}

func TestAStopBeforeTheStartIsAStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := build(t.Context(), quickConfig(), w.deps(t), connected(w.deps(t)), nil, []Pool{testPool()}, []*fleet.Fleet{fleetOf(t, quickConfig(), &scripted{})})
	require.NoError(t, err)
	require.NoError(t, s.run(ctx))
}

func TestAWorkerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "pools.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"pools": [{"name": "espeak", "engine": "espeak", "espeak": {"helper": "/nonexistent/helper"}}]}`), 0o600))
	for want, change := range map[string]func(*Config, *Deps){
		"pool espeak":        func(c *Config, _ *Deps) { c.PoolsFile = file },
		"open the pools":     func(c *Config, _ *Deps) { c.PoolsFile = file + ".gone" },
		"is there twice":     func(c *Config, _ *Deps) { c.Pools = []Pool{testPool(), testPool()} },
		"Bus, DB, Blob":      func(_ *Config, d *Deps) { d.Bus = nil },
		"bulk-share":         func(c *Config, _ *Deps) { c.BulkShare = 0 },
		"call-time":          func(c *Config, _ *Deps) { c.CallTime = 0 },
		"lease-limit":        func(c *Config, _ *Deps) { c.LeaseLimit = c.Hold },
		"attempts":           func(c *Config, _ *Deps) { c.Attempts = 0 },
		"linger":             func(c *Config, _ *Deps) { c.Linger = -1 },
		"assemblies (0)":     func(c *Config, _ *Deps) { c.Assemblies = 0 },
		"no number may be n": func(c *Config, _ *Deps) { c.Pools = []Pool{{Name: "a", Engine: "espeak", Calls: -1}} },
	} {
		cfg, deps := quickConfig(), w.deps(t)
		deps.Registry = telemetry.NewRegistry()
		change(&cfg, &deps)
		require.ErrorContains(t, Run(t.Context(), cfg, deps), want)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, DefaultConfig().Validate())
	cfg := DefaultConfig()
	cfg.ModelsDir = t.TempDir()
	pools, _, err := cfg.pools()
	require.NoError(t, err)
	info := engine.Info{MaxBatch: 16, Window: 3}
	c := DefaultConfig()
	require.NoError(t, errors.Join(c.consume(pools[0], info).Validate(), c.synth(pools[0]).Validate()))
	require.NoError(t, c.fleet(pools[0], nil, nil, slog.New(slog.DiscardHandler)).Validate())
	require.Equal(t, 3, c.consume(pools[0], info).Calls)
}

func TestTheFirstPoolWithAVoiceHasIt(t *testing.T) {
	t.Parallel()
	got := voices([]Pool{{Name: "a"}, {Name: "b"}}, []*fleet.Fleet{fleetOf(t, quickConfig(), &scripted{}), fleetOf(t, quickConfig(), &scripted{})})
	require.Equal(t, []store.Voice{{
		Name: "narrator-en", Pool: "a", Language: "en", Engine: "scripted 1", SampleRate: scriptedRate, Default: true,
	}}, got)
}

func TestVoicesAreKnownBeforeWorkIsPulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deps := w.deps(t)
	ready := make(chan struct{})
	deps.Ready = func() { close(ready) }
	s, err := build(t.Context(), quickConfig(), deps, connected(deps), nil, []Pool{testPool()}, []*fleet.Fleet{fleetOf(t, quickConfig(), &scripted{})})
	require.NoError(t, err)
	_, err = w.db.Exec(t.Context(), `alter table voices rename to voices_away`)
	require.NoError(t, err)
	err = s.run(t.Context())
	require.ErrorContains(t, err, "register the voices", "a schema that does not fit is no outage")
	_, err = w.db.Exec(t.Context(), `alter table voices_away rename to voices`)
	require.NoError(t, err)

	locked, err := w.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = locked.Exec(t.Context(), `lock table voices in access exclusive mode`)
	require.NoError(t, err)
	stop := background(t, s.run)
	select {
	case <-ready:
		t.Error("ready before the voices are known")
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, locked.Rollback(t.Context()))
	select {
	case <-ready:
	case <-time.After(within):
		t.Error("not ready after the database answered")
	}
	stop()
}
