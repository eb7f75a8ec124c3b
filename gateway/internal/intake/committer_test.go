package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a publisher whose acknowledgement takes a while, as an fsync does.
type disk struct {
	ack  time.Duration
	fail error

	mu        sync.Mutex
	envelopes [][]byte
}

func (d *disk) PublishEnvelope(ctx context.Context, b []byte) error {
	select {
	case <-time.After(d.ack):
	case <-ctx.Done():
		return &job.Error{Op: "disk", Kind: job.Unavailable, Err: context.Cause(ctx)}
	}
	if d.fail != nil {
		return d.fail
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.envelopes = append(d.envelopes, b)
	return nil
}

func (d *disk) sizes(t *testing.T) (sizes []int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.envelopes {
		var e struct{ Jobs []json.RawMessage }
		require.NoError(t, json.Unmarshal(b, &e))
		sizes = append(sizes, len(e.Jobs))
	}
	return sizes
}

// start runs a committer in the bubble and stops it at the end of the test.
func start(t *testing.T, cfg intake.Config, pub intake.Publisher) (c *intake.Committer, stop func()) {
	t.Helper()
	c, err := intake.New(cfg, pub)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = c.Run(ctx) })
	return c, func() { cancel(); run.Wait() }
}

type outcomes struct {
	mu  sync.Mutex
	got []error
}

func (o *outcomes) done(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got = append(o.got, err)
}

func (o *outcomes) all() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]error(nil), o.got...)
}

func id(n int) job.ID { return job.ID(fmt.Sprintf("job_%d", n)) }

func TestJobsGatherWhileAnEnvelopeIsOnItsWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{ack: 10 * time.Millisecond}
		c, stop := start(t, intake.DefaultConfig(), d)
		defer stop()
		var o outcomes
		require.NoError(t, c.Queue(id(0), []byte(`{"n":0}`), o.done))
		synctest.Wait() // the first is on its way, alone
		for n := 1; n <= 100; n++ {
			require.NoError(t, c.Queue(id(n), fmt.Appendf(nil, `{"n":%d}`, n), o.done))
		}
		require.Empty(t, o.all(), "nobody is answered before the acknowledgement")
		time.Sleep(10*time.Millisecond - 1)
		synctest.Wait()
		require.Empty(t, o.all())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Len(t, o.all(), 1)
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		require.Len(t, o.all(), 101)
		require.Equal(t, []int{1, 100}, d.sizes(t))
		jobs, bytes := c.Depth()
		require.Zero(t, jobs)
		require.Zero(t, bytes)
	})
}

func TestAnEnvelopeIsBoundedInJobsAndBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		jobs, bytes int
		payload     string
		want        []int
	}{
		"jobs":                            {jobs: 3, bytes: 1 << 20, payload: `{}`, want: []int{1, 3, 3, 1}},
		"bytes":                           {jobs: 100, bytes: 40, payload: `{"text":"abc"}`, want: []int{1, 1, 1, 1, 1, 1, 1, 1}},
		"a larger job has one for itself": {jobs: 100, bytes: 10, payload: `{"text":"abcdefgh"}`, want: []int{1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &disk{ack: time.Millisecond}
				cfg := intake.DefaultConfig()
				cfg.EnvelopeJobs, cfg.EnvelopeBytes = c.jobs, c.bytes
				com, stop := start(t, cfg, d)
				defer stop()
				var o outcomes
				require.NoError(t, com.Queue(id(0), []byte(c.payload), o.done))
				synctest.Wait()
				for n := 1; n < 8; n++ {
					require.NoError(t, com.Queue(id(n), []byte(c.payload), o.done))
				}
				time.Sleep(time.Second)
				require.Len(t, o.all(), 8)
				require.Equal(t, c.want, d.sizes(t))
			})
		})
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := intake.DefaultConfig()
		cfg.QueueJobs, cfg.EnvelopeJobs = 5, 2
		c, stop := start(t, cfg, &disk{ack: time.Second})
		defer stop()
		var o outcomes
		for n := range 5 {
			require.NoError(t, c.Queue(id(n), []byte(`{}`), o.done))
		}
		err := c.Queue(id(5), []byte(`{}`), o.done)
		require.Equal(t, job.Overloaded, job.KindOf(err))
		time.Sleep(4 * time.Second)
		require.Len(t, o.all(), 5)
		require.NoError(t, c.Queue(id(6), []byte(`{}`), o.done))
	})
}

func TestTheSameJobIsSentOnceAndAnsweredTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{ack: time.Millisecond}
		c, stop := start(t, intake.DefaultConfig(), d)
		defer stop()
		var o outcomes
		for range 64 {
			require.NoError(t, c.Queue(id(1), []byte(`{}`), o.done))
		}
		time.Sleep(time.Second)
		require.Len(t, o.all(), 64)
		require.Equal(t, []int{1}, d.sizes(t))
	})
}

func TestAFailureReachesEveryWaiterAndCoolsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := intake.DefaultConfig()
		d := &disk{ack: time.Millisecond, fail: &job.Error{Op: "disk", Kind: job.Unavailable, Err: errors.New("gone")}}
		c, stop := start(t, cfg, d)
		defer stop()
		var o outcomes
		require.NoError(t, c.Queue(id(0), []byte(`{}`), o.done))
		synctest.Wait()
		for n := 1; n < 10; n++ {
			require.NoError(t, c.Queue(id(n), []byte(`{}`), o.done))
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Len(t, o.all(), 10)
		for n, err := range o.all() {
			require.Equal(t, job.Unavailable, job.KindOf(err))
			require.Equal(t, n == 0, errors.Is(err, intake.ErrUnknown), "only what was sent can be unknown")
		}
		require.Equal(t, job.Unavailable, job.KindOf(c.Queue(id(11), []byte(`{}`), o.done)))
		time.Sleep(cfg.Cooldown)
		require.NoError(t, c.Queue(id(12), []byte(`{}`), o.done))
	})
}

func TestAMissingAcknowledgementIsBoundedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := intake.DefaultConfig()
		c, stop := start(t, cfg, &disk{ack: time.Hour})
		defer stop()
		var o outcomes
		require.NoError(t, c.Queue(id(0), []byte(`{}`), o.done))
		time.Sleep(cfg.PublishTimeout + 1)
		synctest.Wait()
		require.Len(t, o.all(), 1)
		require.Equal(t, job.Unavailable, job.KindOf(o.all()[0]))
	})
}

func TestStoppingSendsWhatHasGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{ack: 10 * time.Millisecond}
		c, stop := start(t, intake.DefaultConfig(), d)
		var o outcomes
		require.NoError(t, c.Queue(id(0), []byte(`{}`), o.done))
		synctest.Wait()
		for n := 1; n < 20; n++ {
			require.NoError(t, c.Queue(id(n), []byte(`{}`), o.done))
		}
		stop()
		require.Len(t, o.all(), 20)
		for _, err := range o.all() {
			require.NoError(t, err)
		}
		require.Equal(t, job.Unavailable, job.KindOf(c.Queue(id(99), []byte(`{}`), o.done)))
	})
}

func TestConfigRelationsAreChecked(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*intake.Config){
		"no jobs in an envelope":                    func(c *intake.Config) { c.EnvelopeJobs = 0 },
		"a queue smaller than an envelope":          func(c *intake.Config) { c.QueueJobs = 10 },
		"no time for an acknowledgement":            func(c *intake.Config) { c.PublishTimeout = 0 },
		"a queue with fewer bytes than an envelope": func(c *intake.Config) { c.QueueBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := intake.DefaultConfig()
			spoil(&cfg)
			_, err := intake.New(cfg, &disk{})
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), "intake: "))
		})
	}
}

func TestACallbackThatPanicsHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := intake.DefaultConfig()
		var told any
		cfg.Panicked = func(p any) { told = p }
		c, stop := start(t, cfg, &disk{ack: time.Millisecond})
		defer stop()
		var after []error
		require.NoError(t, c.Queue("a", []byte(`{}`), func(error) { panic("bug: in a callback") }))
		require.NoError(t, c.Queue("b", []byte(`{}`), func(err error) { after = append(after, err) }))
		time.Sleep(time.Second)
		require.NoError(t, c.Queue("c", []byte(`{}`), func(err error) { after = append(after, err) }))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []error{nil, nil}, after)
		require.Equal(t, "bug: in a callback", told)
	})
}
