package fault_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// readiness asks the admin port of a service, which must answer at once whatever
// is away.
func readiness(ctx context.Context, t *testing.T, s *stage.Stage, service string) (ready bool, checks map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin(service)+"/readyz", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Ready  bool
		Checks map[string]string
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	return body.Ready, body.Checks
}

func TestReadinessNamesWhatEachServiceMisses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	s := stage.New(t, bin)
	services := []string{stage.Gateway, stage.Scheduler, stage.Worker}
	until := func(want bool, missing string) {
		for _, service := range services {
			require.Eventually(t, func() bool {
				ready, checks := readiness(ctx, t, s, service)
				return ready == want && (want || checks[service+"/"+missing] != "ok")
			}, time.Minute, 100*time.Millisecond, "%s, %s", service, missing)
		}
	}
	until(true, "")
	for program, check := range map[string]string{stage.S3: "bucket", stage.NATS: "bus", stage.Database: "database"} {
		require.NoError(t, s.Freeze(program))
		until(false, check)
		require.NoError(t, s.Thaw(program))
		until(true, "")
	}
}
