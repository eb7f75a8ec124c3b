package systemd_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/deployments/internal/services"
	"github.com/voicemill/voicemill/platform/testkit"
)

// exposure is the most that `systemd-analyze security` may find, of 10.
const exposure = 1.5

var units = []string{
	"voicemill-gateway.socket", "voicemill-gateway.service", "voicemill-scheduler.service",
	"voicemill-worker@.service", "voicemill-up.service",
}

func TestMain(m *testing.M) { testkit.Main(m) }

func TestEveryUnitIsTested(t *testing.T) {
	found, err := filepath.Glob("*.s[eo]*[et]") // services and sockets
	require.NoError(t, err)
	require.ElementsMatch(t, units, found)
}

// systemd finds nothing to complain of in a system that has the commands where
// the units expect them.
func TestSystemdTakesTheUnits(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	root := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(root, "usr/lib/systemd/system"), os.DirFS("/usr/lib/systemd/system")))
	for _, dir := range []string{"etc/systemd/system", "opt/voicemill", "bin"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755)) //nolint:gosec // as on any machine
	}
	require.NoError(t, os.CopyFS(filepath.Join(root, "opt/voicemill/bin"), os.DirFS(bin)))
	kill, err := exec.LookPath("kill")
	require.NoError(t, err)
	copyFile(t, kill, filepath.Join(root, "bin/kill"), 0o755)
	args := []string{"verify", "--root=" + root}
	for _, name := range units {
		copyFile(t, name, filepath.Join(root, "etc/systemd/system", name), 0o644)
		args = append(args, strings.Replace(name, "@.", "@espeak.", 1))
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput() //nolint:gosec // fixed names
	require.NoError(t, err, string(out))
	require.Empty(t, string(out), "a warning is a mistake")
}

func TestServicesAreHardened(t *testing.T) {
	overall := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`)
	for _, name := range units {
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", "./"+name).CombinedOutput() //nolint:gosec // fixed names
		require.NoError(t, err, string(out))
		found := overall.FindSubmatch(out)
		require.NotNil(t, found, string(out))
		level, err := strconv.ParseFloat(string(found[1]), 64)
		require.NoError(t, err)
		t.Logf("%s: exposure %.1f of 10", name, level)
		require.LessOrEqual(t, level, exposure, string(out))
	}
}

// Every service is limited, and Go's collector knows of it.
func TestServicesAreLimited(t *testing.T) {
	for _, name := range units {
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		u := read(t, name)
		require.Regexp(t, `^\d+%$`, u.value("CPUQuota"), name)
		require.NotEmpty(t, u.value("LimitNOFILE"), name)
		soft, ok := strings.CutPrefix(u.value("Environment"), "GOMEMLIMIT=")
		require.True(t, ok, name)
		require.Less(t, bytesOf(t, soft), bytesOf(t, u.value("MemoryMax")), name)
	}
}

// The gateway serves clients on the socket that systemd's own program for that
// hands it under the unit's name.
func TestGatewayServesOnTheSocketOfTheUnit(t *testing.T) {
	bin, err := services.Build()
	require.NoError(t, err)
	env := services.Backing(t)
	env["VOICEMILL_ADMIN"] = services.FreeAddress(t)
	env["VOICEMILL_LISTEN"] = "192.0.2.1:1" // nobody has this address: only the socket can serve
	clients := services.FreeAddress(t)
	args := []string{"--listen=" + clients, "--fdname=" + read(t, "voicemill-gateway.socket").value("FileDescriptorName")}
	for name, value := range env {
		args = append(args, "--setenv="+name+"="+value)
	}
	services.Start(t, exec.Command("systemd-socket-activate", append(args, filepath.Join(bin, "gateway"))...)) //nolint:gosec,noctx // the test ends it
	require.Contains(t, services.Get(t, "http://"+clients+"/v1/voices", http.StatusUnauthorized), "/problems/")
	services.Get(t, "http://"+env["VOICEMILL_ADMIN"]+"/healthz", http.StatusOK)
}

// unitFile is a unit as systemd reads it.
type unitFile []*unit.UnitOption

func read(t *testing.T, name string) unitFile {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	options, err := unit.DeserializeOptions(f)
	require.NoError(t, err)
	return options
}

// value returns what the last assignment of a setting says.
func (u unitFile) value(name string) (value string) {
	for _, o := range u {
		if o.Name == name {
			value = o.Value
		}
	}
	return value
}

// bytesOf reads 900MiB as Go and 1G as systemd writes them.
func bytesOf(t *testing.T, size string) int {
	t.Helper()
	digits := strings.TrimRight(size, "KMGiB")
	n, err := strconv.Atoi(digits)
	require.NoError(t, err)
	return n << map[byte]int{'K': 10, 'M': 20, 'G': 30}[size[len(digits)]]
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, mode))
}
