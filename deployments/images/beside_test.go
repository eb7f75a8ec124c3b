package images_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/services"
	"github.com/voicemill/voicemill/platform/wav"
)

const endsWithin = 30 * time.Second

// beside prepares the entrypoint of gateway-engine with the real services, in
// front of a program that stands where the engine does.
func beside(t *testing.T, engine ...string) (cmd *exec.Cmd, gateway, worker string) {
	t.Helper()
	bin, err := services.Build()
	require.NoError(t, err)
	voice := filepath.Join(t.TempDir(), "aria.wav")
	require.NoError(t, os.WriteFile(voice, wav.Encode(24000, make([]int16, 5*24000)), 0o600))
	pools := filepath.Join(filepath.Dir(voice), "pools.json")
	require.NoError(t, os.WriteFile(pools, []byte(strings.ReplaceAll(fileText(t, "pools.json"), "/etc/voicemill/aria.wav", voice)), 0o600))
	gateway, worker = services.FreeAddress(t), services.FreeAddress(t)
	cmd = exec.Command("./beside-engine", engine...) //nolint:gosec,noctx // the test ends it
	cmd.Env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "GATEWAY_LISTEN=" + services.FreeAddress(t),
		"GATEWAY_ADMIN=" + gateway, "WORKER_ADMIN=" + worker, "POOLS_FILE=" + pools,
	}
	for key, value := range services.Backing(t) {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd, gateway, worker
}

func TestEngineStopsAfterTheServicesBesideIt(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	cmd, gateway, worker := beside(t, "sh", "-c", `trap 'kill $!; echo stopped > "$0"; exit 0' TERM; tail -f /dev/null & wait`, told)
	ended := services.Start(t, cmd)
	services.Get(t, "http://"+gateway+"/healthz", http.StatusOK)
	services.Get(t, "http://"+worker+"/healthz", http.StatusOK) // ready it is not: what stands where the engine does says nothing
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, ended.Within(endsWithin), "the entrypoint's exit code")
	require.Equal(t, "stopped\n", fileText(t, told))
}

func TestAllEndWithTheEngine(t *testing.T) {
	cmd, _, _ := beside(t, "sh", "-c", "exit 7")
	var exit *exec.ExitError
	require.ErrorAs(t, services.Start(t, cmd).Within(endsWithin), &exit)
	require.Equal(t, 1, exit.ExitCode())
}
