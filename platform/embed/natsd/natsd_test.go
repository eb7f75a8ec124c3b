package natsd_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/embed/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func TestASecondServerInADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, natsd.Config{StoreDir: dir})
	_, err := natsd.Start(t.Context(), natsd.Config{StoreDir: dir}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, dir)
	s.Stop()
	s.Stop() // twice is allowed
	start(t, natsd.Config{StoreDir: dir})
}

func TestServerInThisProcessOnlyUnlessAskedToListen(t *testing.T) {
	t.Parallel()
	s := start(t, natsd.Config{StoreDir: t.TempDir()})
	require.Empty(t, s.URL())
	require.NoError(t, s.Healthy())

	s = start(t, natsd.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.Setup(t.Context()))
	require.NoError(t, b.Ready(t.Context()))
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]natsd.Config{
		"no directory":      {},
		"negative limit":    {StoreDir: t.TempDir(), MaxStore: -1},
		"no port":           {StoreDir: t.TempDir(), Listen: "127.0.0.1"},
		"odd port":          {StoreDir: t.TempDir(), Listen: "127.0.0.1:http"},
		"large port":        {StoreDir: t.TempDir(), Listen: "127.0.0.1:70000"},
		"a file in the way": {StoreDir: filepath.Join("natsd_test.go", "store")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := natsd.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
			require.Error(t, err)
		})
	}
}

func TestAPortThatIsTakenFailsTheStart(t *testing.T) {
	t.Parallel()
	first := start(t, natsd.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	dir := t.TempDir()
	_, err := natsd.Start(ctx, natsd.Config{StoreDir: dir, Listen: first.URL()[len("nats://"):]}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "address already in use")
	start(t, natsd.Config{StoreDir: dir}) // the directory is free again
}

func TestAServerThatCannotGoOnIsStartedAgainAtItsAddress(t *testing.T) {
	t.Parallel()
	s := start(t, natsd.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	var clients []*bus.Bus
	for _, options := range [][]bus.Option{nil, {bus.InProcess(s)}} {
		b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, slog.New(slog.DiscardHandler), options...)
		require.NoError(t, err)
		defer b.Close()
		clients = append(clients, b)
	}
	require.NoError(t, clients[0].Setup(t.Context()))
	url := s.URL()
	s.Break()
	require.Error(t, s.Healthy())
	for _, b := range clients {
		require.Eventually(t, func() bool { return b.Stats().Reconnects > 0 && b.Ready(t.Context()) == nil }, time.Minute, 10*time.Millisecond)
	}
	require.NoError(t, s.Healthy())
	require.Equal(t, url, s.URL())
}

func TestRunEndsTheServerWithItsContext(t *testing.T) {
	t.Parallel()
	s := start(t, natsd.Config{StoreDir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ctx))
	_, err := s.InProcessConn()
	require.Error(t, err)
}

func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := natsd.Start(b.Context(), natsd.Config{StoreDir: dir}, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		s.Stop()
	}
}
