package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/commit"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// mortalClaims is what the database knows of bundles, out of reach of a dead worker.
type mortalClaims struct {
	consume.Claims
	g *grave
}

func (m mortalClaims) Claim(ctx context.Context, claims []store.Claim) ([]store.Claimed, error) {
	if m.g.dead.Load() {
		return nil, &job.Error{Op: "dead", Kind: job.Unavailable}
	}
	return m.Claims.Claim(ctx, claims)
}

func (m mortalClaims) Return(ctx context.Context, refs []store.Ref) error {
	if m.g.dead.Load() {
		return &job.Error{Op: "dead", Kind: job.Internal}
	}
	return m.Claims.Return(ctx, refs)
}

// entomb puts g between a worker and the world.
func (w *world) entomb(g *grave) func(*parts) {
	never := func(string) bool { return false }
	return func(p *parts) {
		work, settle := p.work, p.settle
		p.work = func(pool string) consume.Source { return mortal{work(pool), g} }
		p.assemblies = mortalQueue{p.assemblies, g}
		p.blob = mortalBlob{w.blob, g, never, never}
		p.settle = func(s *store.Store) commit.Store { return mortalTable{settle(s), g, false} }
		p.claims = func(s *store.Store) consume.Claims { return mortalClaims{s, g} }
	}
}

// undertaker starts a worker again whenever a text killed it, and counts.
func (w *world) undertaker(t *testing.T, kills string) (deaths *atomic.Int64, spoken *sync.Map) {
	t.Helper()
	deaths, spoken = &atomic.Int64{}, &sync.Map{}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for alive := true; alive; {
			g := newGrave()
			e := &scripted{before: func(ctx context.Context, _ int, batch []engine.Request) error {
				for _, r := range batch {
					if strings.Contains(r.Text, kills) {
						g.kill()
						<-ctx.Done()
						return engine.CallError("dead", context.Cause(ctx))
					}
					spoken.Store(r.Text, true)
				}
				return nil
			}}
			cfg := quickConfig()
			cfg.Grace, cfg.CallTime = 10*time.Millisecond, time.Minute
			stop := w.start(t, cfg, e, w.entomb(g))
			select {
			case <-g.died:
				deaths.Add(1)
			case <-over:
				alive = false
			}
			stop()
		}
	}()
	t.Cleanup(func() { close(over); <-done })
	return deaths, spoken
}

func TestATextThatKillsTheWorkerFailsAloneAndTheOthersOfItsBundleAreDone(t *testing.T) {
	t.Parallel()
	w := newForgetfulWorld(t)
	deaths, spoken := w.undertaker(t, "kills")
	all := texts(12)
	all[5] = "This text kills."
	p := w.insert(t, job.AllowPartial, plantest.Sentences("One", all...))
	require.Equal(t, job.StatePartial, plantest.AwaitEnd(t, w.db, p, 2*within))
	m := w.checkBook(t, p.ID)
	require.Equal(t, 1, m.Totals.SegmentsFailed)
	require.Equal(t, &assemble.Fault{Kind: "engine", Detail: "The text ended the speech worker twice."}, m.Chapters[0].Segments[5].Error)
	require.Equal(t, 11, w.number(t, `select segments_done from jobs where id = $1`, p.ID))
	require.Equal(t, 1, w.attempts(t, p.ID), "a death was charged as an attempt")
	for i, text := range all {
		if _, ok := spoken.Load(text); i != 5 {
			require.True(t, ok, text)
		}
	}
	require.Equal(t, int64(4), deaths.Load(), "two with its bundle and two alone")
	require.Zero(t, w.number(t, `select count(*) from outstanding`)+w.number(t, `select count(*) from retries`))
}

func TestWhoHappensToBeInHandWithAKillerIsNotFailed(t *testing.T) {
	t.Parallel()
	w := newForgetfulWorld(t)
	w.undertaker(t, "kills")
	var plans []plantest.Plan
	for i := range 6 {
		text := fmt.Sprintf("An innocent sentence, number %d.", i)
		if i == 3 {
			text = "This one kills."
		}
		plans = append(plans, plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", text)}}))
	}
	plantest.Schedule(t, w.db, w.bus, plans...)
	for i, p := range plans {
		want := job.StateSucceeded
		if i == 3 {
			want = job.StateFailed
		}
		require.Equal(t, want, plantest.AwaitEnd(t, w.db, p, 2*within))
	}
}
