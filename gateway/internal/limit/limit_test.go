package limit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/limit"
)

func newGuard(t *testing.T, change func(*limit.Config)) *limit.Guard {
	t.Helper()
	cfg := limit.Config{KeyRequests: limit.Rate{Count: 10, Per: time.Second, Burst: 20}, Subjects: 100}
	change(&cfg)
	g, err := limit.New(cfg)
	require.NoError(t, err)
	return g
}

func TestABurstPassesThenTheRateHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, func(*limit.Config) {})
		for n := range int64(20) {
			v := g.Request("k", "t", time.Now())
			require.False(t, v.Refused())
			require.Equal(t, 19-n, v.Left)
		}
		v := g.Request("k", "t", time.Now())
		require.True(t, v.Refused())
		require.Equal(t, limit.KeyRequests, v.Quota)
		require.Equal(t, 100*time.Millisecond, v.Wait)
		require.Equal(t, 2*time.Second, v.Reset)
		require.Zero(t, v.Left)

		time.Sleep(v.Wait - 1)
		late := g.Request("k", "t", time.Now())
		require.True(t, late.Refused(), "a nanosecond too early")
		time.Sleep(time.Nanosecond)
		v = g.Request("k", "t", time.Now())
		require.False(t, v.Refused())

		passed := 0
		for range 1000 { // ten times the rate for ten seconds
			time.Sleep(10 * time.Millisecond)
			if v := g.Request("k", "t", time.Now()); !v.Refused() {
				passed++
			}
		}
		require.InDelta(t, 100, passed, 1)
		time.Sleep(time.Hour)
		v = g.Request("k", "t", time.Now())
		require.EqualValues(t, 19, v.Left, "an idle key has its burst and no more")
	})
}

func TestARefusedRequestCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGuard(t, func(c *limit.Config) { c.TenantRequests = limit.Rate{Count: 1, Per: time.Second, Burst: 25} })
	for range 40 {
		g.Request("a", "t", now) // 20 of them pass
	}
	for range 5 {
		v := g.Request("b", "t", now)
		require.False(t, v.Refused())
	}
	v := g.Request("b", "t", now)
	require.True(t, v.Refused())
	require.Equal(t, limit.TenantRequests, v.Quota)
	v = g.Request("b", "other", now)
	require.False(t, v.Refused())
	require.EqualValues(t, 14, v.Left, "the refusal did not count against the key")
}

func TestCharactersAreCountedAndAHugeTextIsNotLockedOut(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGuard(t, func(c *limit.Config) { c.TenantCharacters = limit.Rate{Count: 60, Per: time.Minute, Burst: 100} })
	v := g.Characters("k", "t", 40, now)
	require.False(t, v.Refused())
	require.EqualValues(t, 60, v.Left)
	v = g.Characters("k", "t", 61, now)
	require.Equal(t, time.Second, v.Wait)
	v = g.Characters("k", "t", 5000, now.Add(39*time.Second))
	require.True(t, v.Refused())
	v = g.Characters("k", "t", 5000, now.Add(40*time.Second))
	require.False(t, v.Refused(), "the whole burst buys any text")
}

// full says which limit is reached.
func full(_ func(), q limit.Quota) limit.Quota { return q }

func TestHeldThingsAreCountedBothWays(t *testing.T) {
	t.Parallel()
	g := newGuard(t, func(c *limit.Config) { c.KeyHeld, c.TenantHeld = 2, 3 })
	release, why := g.Hold("a", "t")
	require.Equal(t, limit.None, why)
	require.Equal(t, limit.None, full(g.Hold("a", "t")))
	require.Equal(t, limit.KeyHeld, full(g.Hold("a", "t")))
	require.Equal(t, limit.None, full(g.Hold("b", "t")))
	require.Equal(t, limit.TenantHeld, full(g.Hold("b", "t")))
	require.Equal(t, limit.None, full(g.Hold("b", "u")))
	release()
	require.Equal(t, limit.None, full(g.Hold("c", "t")))
}

func TestConnectionsAreCountedBothWaysAndApartFromWhatIsHeld(t *testing.T) {
	t.Parallel()
	g := newGuard(t, func(c *limit.Config) { c.KeyHeld, c.KeyConnections, c.TenantConnections = 1, 2, 3 })
	require.Equal(t, limit.None, full(g.Hold("a", "t")))
	release, why := g.Connect("a", "t")
	require.Equal(t, limit.None, why)
	require.Equal(t, limit.None, full(g.Connect("a", "t")))
	require.Equal(t, limit.KeyConnections, full(g.Connect("a", "t")))
	require.Equal(t, limit.None, full(g.Connect("b", "t")))
	require.Equal(t, limit.TenantConnections, full(g.Connect("b", "t")))
	release()
	require.Equal(t, limit.None, full(g.Connect("c", "t")))
	require.Equal(t, limit.KeyHeld, full(g.Hold("a", "t")))
}

func TestAFloodOfKeysDoesNotGrowTheTablesAndForgetsNothingThatIsHeld(t *testing.T) {
	t.Parallel()
	g := newGuard(t, func(c *limit.Config) { c.KeyHeld = 1 })
	require.Equal(t, limit.None, full(g.Hold("holder", "t")))
	now := time.Now()
	for n := range 10_000 {
		g.Request(fmt.Sprint(n), "t", now)
		require.LessOrEqual(t, g.Len(), 100)
	}
	require.Equal(t, limit.KeyHeld, full(g.Hold("holder", "t")))
}

func TestTheFieldsSayWhatIsLeft(t *testing.T) {
	t.Parallel()
	g := newGuard(t, func(c *limit.Config) { c.TenantRequests = limit.Rate{Count: 1, Per: time.Minute, Burst: 5} })
	require.Equal(t, `"key";q=20;w=2, "tenant";q=5;w=300`, g.Policy())
	v := g.Request("k", "t", time.Now())
	require.Equal(t, `"tenant";r=4;t=60`, string(v.AppendField(nil)))
	var none *limit.Guard
	require.Empty(t, none.Policy())
	v = none.Request("k", "t", time.Now())
	require.False(t, v.Refused())
	for _, take := range []func(key, tenant string) (func(), limit.Quota){none.Hold, none.Connect} {
		release, why := take("k", "t")
		require.Equal(t, limit.None, why)
		release()
	}
}

func TestSettingsThatCannotBeKeptAreRefused(t *testing.T) {
	t.Parallel()
	require.NoError(t, limit.DefaultConfig().Validate())
	for name, r := range map[string]limit.Rate{
		"no count": {Per: time.Second, Burst: 1}, "no burst": {Count: 1, Per: time.Second}, "no period": {Count: 1, Burst: 1},
		"too fast": {Count: 2e9, Per: time.Second, Burst: 1}, "too much": {Count: 1, Per: time.Hour, Burst: 1 << 40},
	} {
		_, err := limit.New(limit.Config{KeyRequests: r, Subjects: 1})
		require.Error(t, err, name)
	}
	_, err := limit.New(limit.Config{})
	require.Error(t, err)
}

func TestRatesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"off", "2000/1s:10000", "1/1m30s:5"} {
		var r limit.Rate
		require.NoError(t, r.UnmarshalText([]byte(text)))
		require.Equal(t, text, r.String())
	}
	for _, text := range []string{"", "5", "5/s:1", "5/1s", "x/1s:1", "5/1s:", "5/1s:1:2"} {
		var r limit.Rate
		require.Error(t, r.UnmarshalText([]byte(text)), text)
	}
}

func TestARequestThatPassesAllocatesNothing(t *testing.T) {
	g, err := limit.New(limit.DefaultConfig())
	require.NoError(t, err)
	now := time.Now()
	g.Request("key", "tenant", now)
	field := make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		v := g.Request("key", "tenant", now)
		field = v.AppendField(field[:0])
	}))
}

func BenchmarkRequest(b *testing.B) {
	g, err := limit.New(limit.DefaultConfig())
	require.NoError(b, err)
	now := time.Now()
	for b.Loop() {
		g.Request("key", "tenant", now)
	}
}

func TestWhoWantsEveryPlaceLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	s := limit.NewShares(60, limit.KeyBodies, limit.TenantBodies, "streams")
	take := func(key, tenant string) (n int, why limit.Quota, release func()) {
		for {
			r, full := s.Take(key, tenant)
			if full != limit.None {
				return n, full, release
			}
			n, release = n+1, r
		}
	}
	n, why, release := take("greedy", "t")
	require.Equal(t, 30, n)
	require.Equal(t, limit.KeyBodies, why)
	n, why, _ = take("second", "t") // of the same tenant, which has two thirds then
	require.Equal(t, 10, n)
	require.Equal(t, limit.TenantBodies, why)
	n, _, _ = take("other", "u")
	require.Equal(t, 10, n, "half of what was free")
	release()
	_, why = s.Take("greedy", "t")
	require.Equal(t, limit.KeyBodies, why, "it holds more than are free")
	for k := range 20 {
		if _, why = s.Take(fmt.Sprint("k", k), fmt.Sprint("t", k)); why != limit.None {
			require.Equal(t, 11, k)
			break
		}
	}
	require.Equal(t, limit.Quota("streams"), why)

	one := limit.NewShares(1, limit.KeyTranscodes, limit.TenantTranscodes, "transcodes")
	_, why = one.Take("k", "t")
	require.Equal(t, limit.None, why)
}
