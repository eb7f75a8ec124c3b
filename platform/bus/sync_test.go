package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

// single starts a server whose clients may not ask it of itself, with a
// monitoring port.
func single(t *testing.T, sync string) bus.Config {
	t.Helper()
	monitor := freeAddr(t)
	return bus.Config{URL: launch(t, node(t, "alone", freeAddr(t), sync, "http: \""+monitor+"\"")), Monitor: "http://" + monitor}
}

func TestAServerThatDoesNotSyncIsRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]bus.Config{
		"told by its monitoring port": single(t, `"2m"`),
		"one of three, told by NATS":  {URL: startCluster(t, "always", "always", `"10s"`)},
	} {
		for _, policy := range []string{"", bus.SyncAssured} {
			cfg.Sync = policy
			err := setUp(t, cfg)
			require.Equal(t, job.Invalid, job.KindOf(err), "%s: %v", name, err)
			require.ErrorContains(t, err, "sync_interval: always", name)
			require.ErrorContains(t, err, "bus-sync=unsafe", name)
		}
	}
}

func TestAServerThatCannotBeAskedIsRefusedUnlessTheOperatorVouchesForIt(t *testing.T) {
	t.Parallel()
	cfg := single(t, "always")
	cfg.Monitor = "http://" + freeAddr(t) // nobody listens
	err := setUp(t, cfg)
	require.Equal(t, job.Invalid, job.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "bus-monitor")
	require.ErrorContains(t, err, "bus-sync=assured")
	cfg.Sync = bus.SyncAssured
	require.NoError(t, setUp(t, cfg))
	require.Equal(t, []int{1, 1}, replicas(t, cfg.URL), "a single server holds one copy, also if it tells nothing")
}

func TestAServerThatSyncsIsFoundOutAtItsMonitoringPort(t *testing.T) {
	t.Parallel()
	require.NoError(t, setUp(t, single(t, "always")))
}

func TestAnUnsafeServerIsWarnedOf(t *testing.T) {
	t.Parallel()
	cfg := single(t, `"2m"`)
	cfg.Sync = bus.SyncUnsafe
	var log bytes.Buffer
	b, err := bus.Connect(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.NoError(t, b.Setup(t.Context()))
	require.Contains(t, log.String(), "level=ERROR")
	require.Contains(t, log.String(), "may not survive a power cut")
	warning, ok := errors.AsType[bus.WarningError](b.Synced(t.Context()))
	require.True(t, ok)
	require.ErrorContains(t, warning, "sync_interval 2m0s")
}

func TestTheEmbeddedServerTellsThatItSyncs(t *testing.T) {
	t.Parallel()
	require.NoError(t, testkit.NATS(t).Synced(t.Context()))
}
