package openaispeech

import (
	"errors"
	"net"
	"testing"
	"time"

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

func TestAnEngineIsAliveAsLongAsOneOfItsBackendsIs(t *testing.T) {
	t.Parallel()
	cfg := settings(t, serve(t, Generic))
	cfg.Backends = append(cfg.Backends, refusing(t))
	require.NoError(t, open(t, cfg).Probe(t.Context()))
	cfg.Backends = []string{refusing(t), refusing(t)}
	require.Equal(t, job.Unavailable, job.KindOf(open(t, cfg).Probe(t.Context())))
}

func TestABackendThatTakesConnectionsAndFailsIsDeadWhileItRests(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t, Generic)))
	b := e.pool.backends[0]
	e.pool.put(b, outcome{kind: busy, after: time.Hour, err: errors.New("full")})
	require.NoError(t, e.Probe(t.Context()), "a busy one works")
	e.pool.put(b, outcome{kind: healthy})
	e.pool.put(b, outcome{kind: unreachable, after: time.Hour, err: errors.New("reset")})
	err := e.Probe(t.Context())
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.ErrorContains(t, err, "reset")
}
