package openaispeech

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func backends(n int) []*backend {
	all := make([]*backend, n)
	for i := range all {
		all[i] = &backend{name: string(rune('a' + i))}
	}
	return all
}

func take(t *testing.T, p *pool) *backend {
	t.Helper()
	b, err := p.take(t.Context())
	require.NoError(t, err)
	return b
}

var errBroken = errors.New("broken")

func TestPoolTakesTheLeastBusy(t *testing.T) {
	t.Parallel()
	p := newPool(backends(3), 2, time.Second)
	a, b, c := take(t, p), take(t, p), take(t, p)
	require.Equal(t, "abc", a.name+b.name+c.name)
	p.put(b, outcome{kind: healthy})
	require.Equal(t, "b", take(t, p).name)
	p.put(c, outcome{kind: healthy})
	p.put(a, outcome{kind: healthy})
	require.Equal(t, "a", take(t, p).name, "used longest ago")
}

func TestPoolWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 1, time.Second)
		b := take(t, p)
		got := make(chan *backend)
		go func() { c, _ := p.take(t.Context()); got <- c }()
		time.Sleep(time.Hour) // it is busy, not unwell: there is no limit but ctx
		select {
		case <-got:
			t.Fatal("two at once in a window of one")
		default:
		}
		p.put(b, outcome{kind: healthy})
		require.Same(t, b, <-got)
	})
}

func TestPoolWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 1, time.Second)
		take(t, p)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errBroken)
		defer cancel()
		_, err := p.take(ctx)
		require.ErrorIs(t, err, errBroken)
	})
}

func TestFullBackendRestsAsLongAsItAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 2, time.Minute)
		p.put(take(t, p), outcome{kind: busy, after: 7 * time.Second, err: errBroken})
		begun := time.Now()
		b := take(t, p)
		require.Equal(t, 7*time.Second, time.Since(begun))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.take(ctx)
		require.Error(t, err, "only one request tries whether it is well")
		p.put(b, outcome{kind: healthy})
		take(t, p)
		take(t, p)
	})
}

func TestRestsDoubleUntilASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 1, time.Hour)
		begun := time.Now()
		for _, want := range []int{0, 250, 750, 1750, 3750} {
			b := take(t, p)
			require.Equal(t, time.Duration(want)*time.Millisecond, time.Since(begun))
			p.put(b, outcome{kind: unreachable, err: errBroken})
		}
		p.put(take(t, p), outcome{kind: healthy})
		begun = time.Now()
		take(t, p)
		require.Zero(t, time.Since(begun))
	})
}

func TestOneFaultIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 4, time.Hour)
		begun := time.Now()
		for range maxFaults - 1 {
			p.put(take(t, p), outcome{kind: faulty, err: errBroken})
		}
		b := take(t, p)
		require.Zero(t, time.Since(begun))
		p.put(b, outcome{kind: neutral})
		p.put(take(t, p), outcome{kind: faulty, err: errBroken})
		take(t, p)
		require.Equal(t, firstRest, time.Since(begun))
	})
}

func TestAllAtOnceFaultsAreOneRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(1), 4, time.Hour)
		taken := []*backend{take(t, p), take(t, p), take(t, p), take(t, p)}
		for _, b := range taken {
			p.put(b, outcome{kind: unreachable, err: errBroken})
		}
		begun := time.Now()
		take(t, p)
		require.Equal(t, firstRest, time.Since(begun))
	})
}

func TestPoolGivesUpWhenNobodyWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(2), 1, 10*time.Second)
		for range 2 {
			p.put(take(t, p), outcome{kind: busy, after: 25 * time.Second, err: errBroken})
		}
		begun := time.Now()
		_, err := p.take(t.Context())
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, 10*time.Second, time.Since(begun))
	})
}

func TestRestingBackendIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(backends(2), 1, time.Minute)
		a := take(t, p)
		p.put(a, outcome{kind: busy, after: 20 * time.Second, err: errBroken})
		begun := time.Now()
		for range 5 {
			b := take(t, p)
			require.Equal(t, "b", b.name)
			p.put(b, outcome{kind: healthy})
		}
		require.Zero(t, time.Since(begun))
	})
}
