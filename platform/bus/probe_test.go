package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestTheIntakeIsProbedWithoutATrace(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{JobsBytes: 2 * bus.MaxMessageBytes})
	for range 3 {
		require.NoError(t, b.ProbeIntake(t.Context()))
	}
	require.Zero(t, accepted(t, s))

	var err error
	for err == nil {
		err = b.PublishEnvelope(t.Context(), make([]byte, bus.MaxMessageBytes/3))
	}
	for i := bus.MaxMessageBytes / 3; i > 0; i /= 2 { // to the last bytes
		_ = b.PublishEnvelope(t.Context(), make([]byte, i))
	}
	require.Equal(t, job.Overloaded, job.KindOf(b.ProbeIntake(t.Context())))
}

// A probe that is cut short, as by a server that is slow for a moment, may have stored
// its message and not have taken it out. JOBS would hold it for ever.
func TestAProbeThatIsCutShortLeavesNothingForLong(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{})
	left := uint64(0)
	for i := 0; left == 0 && i < 10_000; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%200)*5*time.Microsecond)
		if b.ProbeIntake(ctx) != nil {
			left = accepted(t, s)
		}
		cancel()
	}
	require.Positive(t, left, "no probe was cut between its two steps")
	require.Eventually(t, func() bool { return accepted(t, s) == 0 }, time.Minute, 100*time.Millisecond)
}

// accepted returns how many messages are in JOBS.
func accepted(t *testing.T, s *natsd.Server) uint64 {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), bus.StreamJobs)
	require.NoError(t, err)
	return stream.CachedInfo().State.Msgs
}
