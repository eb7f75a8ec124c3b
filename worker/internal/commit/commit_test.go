package commit_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/commit"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var config = commit.Config{Group: 100, Linger: 10 * time.Millisecond, Hold: time.Minute, Grace: 5 * time.Second}

// table is a store that a test scripts: what a real database does is tested in
// package store; here it is about time and grouping.
type table struct {
	mu     sync.Mutex
	groups [][]int // segment numbers
	fail   func(try int, os []store.Outcome) error
	tries  int
	slow   time.Duration
}

func (s *table) Settle(ctx context.Context, os []store.Outcome) (store.Settled, error) {
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return store.Settled{}, &job.Error{Op: "table", Kind: job.Unavailable, Err: ctx.Err()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if s.fail != nil {
		if err := s.fail(s.tries, os); err != nil {
			return store.Settled{}, err
		}
	}
	done := store.Settled{Applied: make([]bool, len(os))}
	var ns []int
	for i, o := range os {
		ns = append(ns, o.Segment)
		done.Applied[i] = o.Attempt == 1
	}
	s.groups = append(s.groups, ns)
	return done, nil
}

func outcome(n int) store.Outcome {
	return store.Outcome{Ref: store.Ref{Job: 1, N: 1, Attempt: 1}, Segment: n, State: job.SegmentDone}
}

func away() error { return &job.Error{Op: "table", Kind: job.Unavailable} }

func start(t *testing.T, s *table) (c *commit.Committer, stop func()) {
	t.Helper()
	c = commit.New(config, s, slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestWhatComesTogetherIsOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{}
		c, stop := start(t, s)
		defer stop()
		var wg sync.WaitGroup
		for n := range 250 {
			wg.Go(func() {
				if ok, err := c.Submit(t.Context(), outcome(n)); !ok || err != nil {
					t.Errorf("Submit(%d) = %t, %v", n, ok, err)
				}
			})
		}
		wg.Wait()
		if len(s.groups) != 3 {
			t.Errorf("%d transactions for 250 outcomes in groups of 100; want 3", len(s.groups))
		}
	})
}

func TestAnInteractiveOutcomeWaitsForNoCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{}
		c, stop := start(t, s)
		defer stop()
		begun := time.Now()
		o := outcome(1)
		o.Class = job.Interactive
		if ok, err := c.Submit(t.Context(), o); !ok || err != nil || time.Since(begun) != 0 {
			t.Errorf("Submit = %t, %v after %s; want it stored at once", ok, err, time.Since(begun))
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = c.Submit(t.Context(), outcome(2)) })
		synctest.Wait() // that one waits for others
		o.Segment = 3
		if ok, err := c.Submit(t.Context(), o); !ok || err != nil || time.Since(begun) != 0 {
			t.Errorf("Submit = %t, %v after %s; want it stored at once", ok, err, time.Since(begun))
		}
		wg.Wait()
		if len(s.groups) != 2 || len(s.groups[1]) != 2 {
			t.Errorf("groups are %v; want what waited to go along with the second", s.groups)
		}
	})
}

func TestALateOutcomeIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, &table{})
		defer stop()
		late := outcome(1)
		late.Attempt = 0
		if ok, err := c.Submit(t.Context(), late); ok || err != nil {
			t.Errorf("Submit = %t, %v; want false and no error", ok, err)
		}
	})
}

func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{fail: func(try int, _ []store.Outcome) error {
			if try < 6 {
				return away()
			}
			return nil
		}}
		c, stop := start(t, s)
		defer stop()
		if ok, err := c.Submit(t.Context(), outcome(1)); !ok || err != nil {
			t.Errorf("Submit = %t, %v; want it stored once the database is back", ok, err)
		}
	})
}

func TestTheWaitForADatabaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, &table{fail: func(int, []store.Outcome) error { return away() }})
		defer stop()
		begun := time.Now()
		_, err := c.Submit(t.Context(), outcome(1))
		if took := time.Since(begun); job.KindOf(err) != job.Unavailable || took < time.Minute || took > 2*time.Minute {
			t.Errorf("Submit = %v after %s; want Unavailable after the hold of a minute", err, took)
		}
	})
}

func TestOneRefusedOutcomeHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{fail: func(_ int, os []store.Outcome) error {
			for _, o := range os {
				if o.Segment == 3 {
					return &job.Error{Op: "table", Kind: job.Internal}
				}
			}
			return nil
		}}
		c, stop := start(t, s)
		defer stop()
		var wg sync.WaitGroup
		for n := range 5 {
			wg.Go(func() {
				ok, err := c.Submit(t.Context(), outcome(n))
				if n == 3 && job.KindOf(err) != job.Internal || n != 3 && (!ok || err != nil) {
					t.Errorf("Submit(%d) = %t, %v", n, ok, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestTheGroupInHandIsStoredAfterTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{slow: time.Second}
		c, stop := start(t, s)
		answered := make(chan error, 1)
		go func() {
			_, err := c.Submit(t.Context(), outcome(1))
			answered <- err
		}()
		time.Sleep(500 * time.Millisecond)
		stop()
		if err := <-answered; err != nil || len(s.groups) != 1 {
			t.Errorf("Submit = %v with %d groups; want it stored", err, len(s.groups))
		}
		if _, err := c.Submit(t.Context(), outcome(2)); !errors.Is(err, commit.ErrStopped) {
			t.Errorf("Submit after the stop = %v; want ErrStopped", err)
		}
	})
}

func TestASubmitterMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, &table{slow: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Submit(ctx, outcome(1)); job.KindOf(err) != job.Unavailable {
			t.Errorf("Submit = %v; want Unavailable when its ctx ends", err)
		}
		stop()
	})
}
