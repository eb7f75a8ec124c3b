package bus

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/embed/natsd"
)

// stand returns a connected bus with its streams.
func stand(t *testing.T) *Bus {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := natsd.Start(t.Context(), natsd.Config{StoreDir: t.TempDir()}, log)
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	b, err := Connect(t.Context(), Config{}, log, InProcess(s))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.NoError(t, b.Setup(t.Context()))
	return b
}

// A machine so busy that the wait is over before it was asked for brings nothing,
// and is no sign that the bus is away.
func TestAWaitThatIsOverAtOnceIsNoFault(t *testing.T) {
	t.Parallel()
	b := stand(t)
	route, err := workRoute("espeak", job.Bulk)
	require.NoError(t, err)
	c, err := b.consumer(t.Context(), route)
	require.NoError(t, err)
	got, err := b.awaitOne(t.Context(), c, time.Nanosecond)
	require.NoError(t, err)
	require.Empty(t, got)
}

// refusing is a consumer that takes no request.
type refusing struct{ jetstream.Consumer }

func (refusing) Fetch(int, ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	return nil, jetstream.ErrInvalidOption
}

func TestAWaitThatIsRefusedIsAFault(t *testing.T) {
	t.Parallel()
	_, err := stand(t).awaitOne(t.Context(), refusing{}, time.Minute)
	require.ErrorIs(t, err, jetstream.ErrInvalidOption)
}
