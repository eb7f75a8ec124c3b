package testkit

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostEnv makes the test binary start the shared servers and wait to be killed.
const hostEnv = "VOICEMILL_TEST_KIT_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		shared.once.Do(shared.start)
		sharedS3.once.Do(sharedS3.start)
		fmt.Println(shared.dir.path, sharedS3.dir.path, shared.err, sharedS3.err)
		select {}
	}
	Main(m)
}

func TestAKilledTestProcessLeavesNothing(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	host := exec.CommandContext(t.Context(), self) //nolint:gosec // this very binary
	host.Env = append(os.Environ(), hostEnv+"=1")
	out, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	fields := strings.Fields(line)
	require.Equal(t, []string{"<nil>", "<nil>"}, fields[2:], line)
	require.DirExists(t, fields[0])

	require.NoError(t, host.Process.Kill())
	require.Error(t, host.Wait())
	for _, dir := range fields[:2] {
		require.Eventually(t, func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) }, 60*time.Second, 10*time.Millisecond, dir)
	}
}

func TestEachTestHasItsOwnParts(t *testing.T) {
	t.Parallel()
	a, b := PostgresDSN(t), PostgresDSN(t)
	require.NotEqual(t, a, b)
	one, two := S3Config(t).Bucket, S3Config(t).Bucket
	require.NotEqual(t, one, two)
	first, second := NATS(t), NATS(t)
	require.NotSame(t, first, second)
}
