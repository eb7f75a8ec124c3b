package openaispeech

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

// refusing returns an address that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

func TestAnEngineThatTakesConnectionsMayWork(t *testing.T) {
	t.Parallel()
	cfg := settings(t, serve(t, Generic))
	require.NoError(t, open(t, cfg).Probe(t.Context()))
	cfg.Backends = []string{refusing(t)}
	require.Equal(t, job.Unavailable, job.KindOf(open(t, cfg).Probe(t.Context())))
}
