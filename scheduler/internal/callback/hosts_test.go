package callback

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAHostThatIsSilentRestsLongerAndLonger(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	hs := newHosts(4)
	silent := func() {
		require.True(t, hs.room("dead", now))
		hs.start("dead")
		require.False(t, hs.room("dead", now), "a stranger gets one attempt at a time")
		hs.land("dead", false, now)
	}
	silent()
	require.True(t, hs.room("dead", now), "once may happen to anybody")
	for _, seconds := range []int{30, 60, 120, 240, 480, 600, 600} {
		silent()
		require.False(t, hs.room("dead", now))
		require.Equal(t, []string{"dead"}, hs.busy(now))
		now = now.Add(time.Duration(seconds)*time.Second - 1)
		require.False(t, hs.room("dead", now))
		now = now.Add(1)
	}
	hs.start("dead")
	hs.land("dead", true, now)
	for range 4 {
		require.True(t, hs.room("dead", now), "it answers again")
		hs.start("dead")
	}
	require.False(t, hs.room("dead", now))
	require.Empty(t, hs.busy(now.Add(-time.Hour))[1:])
}

func TestHostsAreForgottenBeyondABound(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	hs := newHosts(4)
	hs.start("flying")
	for i := range maxHosts + 10 {
		name := fmt.Sprint(i)
		hs.start(name)
		hs.land(name, true, now.Add(time.Duration(i)))
	}
	require.LessOrEqual(t, len(hs.known), maxHosts+1)
	require.NotNil(t, hs.known["flying"])
	require.Nil(t, hs.known["0"])
}
