package backlog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
)

func TestHowManyReplicasABacklogIsWorth(t *testing.T) {
	t.Parallel()
	const drain, cold = 10 * time.Minute, time.Minute
	for name, c := range map[string]struct {
		seconds float64
		now     int
		want    int
	}{
		"nothing":                                  {0, 3, 0},
		"one line starts the first from zero":      {0.2, 0, 1},
		"what one drains in time":                  {600, 0, 1},
		"what two drain in time":                   {601, 1, 2},
		"three, each of which saves what it costs": {1800, 0, 3},
		"one too many":                             {700, 3, 2},
		"many, as far as they save more than that": {12_000, 0, 14},
		"those that run already cost no start":     {12_000, 20, 20},
		"too many":                                 {600, 20, 1},
	} {
		require.Equal(t, c.want, backlog.Desired(c.seconds, c.now, drain, cold), name)
	}
	require.Equal(t, 1, backlog.Desired(1800, 1, 10*time.Minute, 20*time.Minute), "a second replica needs longer to start than it would save")
}

// With no worker left the speed of before is what a backlog is measured by.
func TestAPoolWithoutWorkersHasABacklogInTheSpeedOfBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg, m := backlog.DefaultConfig(), backlog.NewMeter()
		works := []backlog.Work{{Pool: "gpu", Class: job.Interactive, Audio: 5, Oldest: time.Second}, {Pool: "gpu", Class: job.Bulk, Audio: 20_000, Oldest: time.Hour}}
		sum := func() backlog.Pool {
			s, replicas := m.Speed("gpu")
			return cfg.Sum("gpu", works, s, replicas)
		}
		require.InDelta(t, 2000.5, sum().GPUSeconds, 1e-9, "at the speed of the settings")
		require.False(t, sum().Measured)
		for _, worker := range []string{"a", "b"} {
			m.Capacity(bus.Capacity{Worker: worker, Pool: "gpu", Slots: 4, Goodput: 40, ColdStart: 90})
		}
		m.Capacity(bus.Capacity{Worker: "c", Pool: "gpu", Goodput: 0})
		got := sum()
		require.InDelta(t, 500.125, got.GPUSeconds, 1e-9)
		require.Equal(t, 2, got.Replicas, "one takes nothing")
		require.InDelta(t, 90, got.ColdStartSeconds, 1e-9)
		require.Equal(t, 1, got.DesiredReplicas)
		require.Equal(t, backlog.Class{GPUSeconds: 0.125, AudioSeconds: 5, OldestSeconds: 1}, got.Classes[job.Interactive])
		time.Sleep(10 * time.Second)
		got = sum()
		require.Zero(t, got.Replicas)
		require.InDelta(t, 500.125, got.GPUSeconds, 1e-9)

		next := backlog.NewMeter() // of the next leader
		next.Known(m.Speeds())
		s, replicas := next.Speed("gpu")
		require.Equal(t, backlog.Speed{Pool: "gpu", Audio: 40, ColdStart: 90 * time.Second}, s)
		require.Zero(t, replicas)
	})
}
