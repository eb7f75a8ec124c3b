package circuit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/circuit"
	"github.com/voicemill/voicemill/job"
)

var (
	errAway    = &job.Error{Op: "test", Kind: job.Unavailable, Err: errors.New("refused")}
	errMissing = &job.Error{Op: "test", Kind: job.NotFound}
)

func TestItOpensAfterFailuresInARowAndTriesAgain(t *testing.T) {
	t.Parallel()
	cfg := circuit.DefaultConfig()
	b := circuit.New("the database", cfg)
	now := time.Unix(1000, 0)
	for range cfg.Failures - 1 {
		require.NoError(t, b.Allow(now))
		b.Done(now, errAway)
	}
	b.Done(now, errMissing) // an answer
	for range cfg.Failures {
		require.NoError(t, b.Allow(now))
		require.NoError(t, b.State(now))
		b.Done(now, errAway)
	}
	err := b.Allow(now)
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Contains(t, job.PublicOf(err, ""), "the database cannot be reached")
	require.ErrorIs(t, err, errAway)

	later := now.Add(cfg.Cooldown)
	require.Error(t, b.State(later), "nobody has tried yet")
	require.NoError(t, b.Allow(later), "one may try")
	require.Error(t, b.Allow(later), "one only")
	b.Done(later, nil)
	require.NoError(t, b.Allow(later))
	require.NoError(t, b.State(later))
}

func TestAProbeOpensAtOnce(t *testing.T) {
	t.Parallel()
	b := circuit.New("the bucket", circuit.DefaultConfig())
	now := time.Unix(1000, 0)
	b.Trip(now, errAway)
	require.Error(t, b.Allow(now))
	b.Reset()
	require.NoError(t, b.Allow(now))
}
