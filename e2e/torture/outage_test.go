package torture_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

const (
	outageRate  = 100 // requests a second
	outageShort = 6 * time.Second
	outageLong  = 30 * time.Second
	outageTick  = 50 * time.Millisecond
	// mostHeld is how many requests may wait at once: those of the seconds until
	// the gateway has noticed, which is after a time-out of five.
	mostHeld = 12 * outageRate
)

// outage is a service that goes, and a request that needs it.
type outage struct {
	service  string
	needs    [2]string // line and body
	spared   [2]string // of a request that does not need it
	sparedOK int
	ok       int // status of the answer when the service is there
}

func outages(g *target) map[string]outage {
	status := [2]string{"GET /v1/jobs/" + string(g.job) + " HTTP/1.1", ""}
	nowhere := [2]string{"GET /nowhere HTTP/1.1", ""} // who calls is asked of Postgres, from time to time
	submit := [2]string{"POST /v1/jobs HTTP/1.1", `{"input":{"text":"A line."},"language":"en"}`}
	return map[string]outage{
		"NATS":     {stage.NATS, submit, status, http.StatusOK, http.StatusAccepted},
		"Postgres": {stage.Database, [2]string{"GET /v1/jobs HTTP/1.1", ""}, nowhere, http.StatusNotFound, http.StatusOK},
		"S3":       {stage.S3, [2]string{"POST /v1/uploads HTTP/1.1", `{"media_type":"text/plain"}`}, status, http.StatusOK, http.StatusCreated},
	}
}

// TestAServiceThatIsAwayIsSaidAndNothingPilesUp takes away what the gateway needs,
// by ending it and by stopping it in its tracks, which nobody is told of.
func TestAServiceThatIsAwayIsSaidAndNothingPilesUp(t *testing.T) {
	g := newTarget(t)
	warmUp(t, g)
	g.settle(t, nil)
	for name, o := range outages(g) {
		for way, take := range map[string]struct{ away, back func() error }{
			"ended": {
				func() error { g.s.Away(o.service); return nil },
				func() error { return g.s.Back(t.Context(), o.service) },
			},
			"stopped": {
				func() error { return g.s.Freeze(o.service) },
				func() error { return g.s.Thaw(o.service) },
			},
		} {
			if way == "ended" && !g.full {
				continue // a refusal is noticed sooner than silence
			}
			t.Run(name+" is "+way, func(t *testing.T) {
				g.answers(t, o)
				require.NoError(t, take.away())
				g.withhold(t, o)
				require.NoError(t, take.back())
				g.answers(t, o)
			})
		}
	}
	g.settle(t, nil)
	require.Equal(t, g.pid, g.s.PID(stage.Gateway))
}

// answers waits until the request is answered as it should be.
func (g *target) answers(t *testing.T, o outage) {
	t.Helper()
	require.Eventually(t, func() bool {
		a, err := g.ask(o.needs[0], o.needs[1])
		return err == nil && a.status == o.ok
	}, patience, look)
}

// withhold goes on asking while the service is away.
func (g *target) withhold(t *testing.T, o outage) {
	t.Helper()
	d := outageShort
	if g.full {
		d = outageLong
	}
	var wg sync.WaitGroup
	var held, most, spared atomic.Int64
	var mu sync.Mutex
	statuses := map[int]int{}
	var times []time.Duration
	tick := time.NewTicker(outageTick)
	defer tick.Stop()
	for from, sent := time.Now(), 0; time.Since(from) < d; <-tick.C {
		for ; sent < int(time.Since(from).Seconds()*outageRate); sent++ {
			wg.Go(func() {
				most.Store(max(most.Load(), held.Add(1)))
				defer held.Add(-1)
				began := time.Now()
				a, err := g.ask(o.needs[0], o.needs[1])
				if err == nil && a.status == http.StatusServiceUnavailable && (a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"detail"`)) {
					err = fmt.Errorf("a 503 that says too little: %v %s", a.header, a.body)
				}
				if err != nil {
					t.Errorf("while %s is away: %v", o.service, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[a.status]++
				times = append(times, time.Since(began))
			})
		}
		if a, err := g.ask(o.spared[0], o.spared[1]); err != nil || a.status != o.sparedOK {
			t.Errorf("what does not need %s: status %d %s, %v", o.service, a.status, a.body, err)
		}
		spared.Add(1)
	}
	wg.Wait()
	slices.Sort(times)
	t.Logf("%d asked in %s: answers %v, half within %s, all within %s; %d waited at once; %d others were answered",
		len(times), d, statuses, times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond), most.Load(), spared.Load())
	require.LessOrEqual(t, most.Load(), int64(mostHeld))
	require.Positive(t, statuses[http.StatusServiceUnavailable])
	delete(statuses, http.StatusServiceUnavailable)
	delete(statuses, o.ok)
	require.Empty(t, statuses)
}
