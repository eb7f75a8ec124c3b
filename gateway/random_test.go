package gateway_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
)

// The version that scripts/setup installs.
const schemathesis = "../.cache/schemathesis-4.32.5/bin/schemathesis"

// TestRandomRequestsKeepTheContract has Schemathesis, which knows nothing but the
// contract, send requests that keep it and requests that do not, and look at every
// answer. VOICEMILL_SCHEMATHESIS_EXAMPLES makes it longer.
func TestRandomRequestsKeepTheContract(t *testing.T) {
	t.Parallel()
	program, err := filepath.Abs(schemathesis)
	require.NoError(t, err)
	_, err = os.Stat(program)
	require.NoError(t, err, "run scripts/setup test")
	contract, err := filepath.Abs("../api/openapi.yaml")
	require.NoError(t, err)
	settings, err := filepath.Abs("testdata/schemathesis")
	require.NoError(t, err)
	w := newWorld(t, func(c *gateway.Config) { c.MaxWait, c.Heartbeat = time.Second, 100*time.Millisecond })
	examples := os.Getenv("VOICEMILL_SCHEMATHESIS_EXAMPLES")
	if examples == "" {
		examples = "5"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--config-file", filepath.Join(settings, "schemathesis.toml"), "run", contract, "--url", w.url,
		"--header", "Authorization: Bearer "+w.key, "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", "1",
		"--generation-database", "none", "--generation-with-security-parameters", "false", "--no-shrink", "--continue-on-failure", "--request-timeout", "20",
		"--workers", "1", "--warnings", "off", "--suppress-health-check", "all", "--no-color")
	cmd.Dir = t.TempDir() // where it keeps notes
	cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS=hooks", "PYTHONPATH="+settings, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}
