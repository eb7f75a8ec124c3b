package shed_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/job"
)

// steady tells the controller of envelopes that take that long, for ten seconds.
func steady(c *shed.Controller, took time.Duration) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		time.Sleep(max(took, 10*time.Millisecond))
		c.Observe(took, time.Now())
	}
}

// refused returns how many of a hundred are.
func refused(c *shed.Controller, class job.Class) int {
	n := 0
	for range 100 {
		if !c.Admit(class, time.Now()) {
			n++
		}
	}
	return n
}

func newController(t *testing.T) *shed.Controller {
	t.Helper()
	c, err := shed.New(shed.DefaultConfig())
	require.NoError(t, err)
	return c
}

func TestBulkGoesFirstAndInteractiveLast(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]struct{ bulk, interactive int }{
		5 * time.Millisecond:    {0, 0},
		900 * time.Millisecond:  {0, 0},
		2 * time.Second:         {50, 0},
		3 * time.Second:         {100, 0},
		4500 * time.Millisecond: {100, 50},
		6 * time.Second:         {100, 100},
	} {
		t.Run(took.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newController(t)
				steady(c, took)
				require.InDelta(t, want.bulk, refused(c, job.Bulk), 5, c.Latency(time.Now()))
				require.InDelta(t, want.interactive, refused(c, job.Interactive), 5, c.Latency(time.Now()))
			})
		})
	}
}

func TestOneSlowEnvelopeAmongFastOnesShedsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newController(t)
		steady(c, 5*time.Millisecond)
		c.Observe(400*time.Millisecond, time.Now())
		require.Zero(t, refused(c, job.Bulk))
	})
}

func TestAStallShedsSoonAndItsEndIsNoticedEvenIfNothingIsAdmitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newController(t)
		steady(c, 5*time.Millisecond)
		time.Sleep(5 * time.Second)
		c.Observe(5*time.Second, time.Now()) // the publish timed out
		require.Equal(t, 100, refused(c, job.Bulk))
		before := refused(c, job.Interactive)
		require.InDelta(t, 66, before, 5)
		time.Sleep(6 * time.Second) // nobody is let in, so nothing is observed
		require.Less(t, refused(c, job.Interactive), before, "more may try again")
		time.Sleep(4 * time.Second)
		require.Zero(t, refused(c, job.Bulk))
	})
}

func TestNobodyIsRefusedBeforeAnythingIsKnown(t *testing.T) {
	t.Parallel()
	c := newController(t)
	require.Zero(t, refused(c, job.Bulk))
	var none *shed.Controller
	none.Observe(time.Hour, time.Now())
	require.True(t, none.Admit(job.Bulk, time.Now()))
	require.Zero(t, none.Latency(time.Now()))
}

func TestSettingsThatContradictAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*shed.Config){
		"no memory":         func(c *shed.Config) { c.Memory = 0 },
		"upside down":       func(c *shed.Config) { c.Bulk.Full = c.Bulk.From },
		"interactive first": func(c *shed.Config) { c.Interactive.From = c.Bulk.From - 1 },
	} {
		cfg := shed.DefaultConfig()
		change(&cfg)
		_, err := shed.New(cfg)
		require.Error(t, err, name)
	}
}
