package release_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/release"
)

func windowConfig() release.WindowConfig {
	return release.WindowConfig{Work: 1500 * time.Millisecond, MinSeconds: 60, MinSegments: 4, MaxSegments: 100}
}

func TestRoomIsTheWindowLessWhatIsOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pace, seconds float64
		segments      int
		want          release.Room
	}{
		"an unknown pool gets the least window":          {0, 0, 0, release.Room{Seconds: 60, Segments: 100, Floor: 4, Idle: true}},
		"a slow pool keeps the least window":             {20, 10, 1, release.Room{Seconds: 50, Segments: 99, Floor: 3}},
		"a fast pool gets a second and a half of work":   {500, 100, 10, release.Room{Seconds: 650, Segments: 90, Floor: -6}},
		"a full lane has no room":                        {0, 80, 3, release.Room{Seconds: -20, Segments: 97, Floor: 1}},
		"the number of segments is bounded whatever the": {1e6, 0, 100, release.Room{Seconds: 1.5e6, Segments: 0, Floor: -96}},
	} {
		require.Equal(t, c.want, *windowConfig().Room(c.pace, c.seconds, c.segments), name)
	}
}

func TestPaceFollowsThePool(t *testing.T) {
	t.Parallel()
	var p release.Pace
	require.Zero(t, p.Rate())
	p.Observe(0, time.Second)
	require.Zero(t, p.Rate())
	p.Observe(50, 100*time.Millisecond)
	require.InDelta(t, 500, p.Rate(), 1e-9, "the first work says all that is known")
	for range 100 {
		p.Observe(2, 100*time.Millisecond)
	}
	require.InDelta(t, 20, p.Rate(), 20, "ten seconds later the pool is known to be slow")
	p.Observe(5, 0)
	require.InDelta(t, 20, p.Rate(), 20)
}

// The window grows with the pace it allows, so that a fast pool is not held
// at the pace that the first window happened to give.
func TestAFastPoolIsNotHeldByTheFirstWindow(t *testing.T) {
	t.Parallel()
	var p release.Pace
	cfg := windowConfig()
	const able = 2000.0 // seconds of audio a second
	rate := 0.0
	for range 100 { // looked at every 100 ms
		done := min(able/10, cfg.Room(p.Rate(), 0, 0).Seconds)
		p.Observe(done, 100*time.Millisecond)
		rate = done * 10
	}
	require.InDelta(t, able, rate, 1)
}
