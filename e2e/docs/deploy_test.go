package docs_test

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/testkit/commands"
)

// triedWithin is how long the page's commands may take; a slow machine starts nine programs.
const triedWithin = 4 * time.Minute

var (
	tried   = regexp.MustCompile("(?ms)^```sh\n# tried\n(.*?)^```")
	address = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)
	dataDir = "/var/lib/voicemill"
)

// The commands run as they stand, only with free ports and a folder of the test's own.
func TestTheCommandsOfDeployRun(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(top, "docs/deploy.md"))
	require.NoError(t, err)
	blocks := tried.FindAllStringSubmatch(string(raw), -1)
	require.GreaterOrEqual(t, len(blocks), 3)
	var script strings.Builder
	script.WriteString("set -eu -o pipefail\n")
	for _, b := range blocks {
		script.WriteString(b[1])
	}
	dir := stage.Dir(t)
	r := replacer{t: t, data: filepath.Join(dir, "data"), ports: map[string]string{}}
	require.NoError(t, os.Mkdir(r.data, 0o755)) //nolint:gosec // another user writes below it
	r.copy(filepath.Join(top, "deployments/apart"), filepath.Join(dir, "deployments/apart"))
	programs(t, filepath.Join(dir, "bin"))

	out, err := run(t, dir, r.here(script.String()))
	for _, log := range []string{"gateway", "scheduler", "worker", "nats-1", "s3", "postgres"} {
		if said, rerr := os.ReadFile(filepath.Join(r.data, log+".log")); rerr == nil && err != nil {
			t.Logf("%s said:\n%s", log, said)
		}
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "succeeded")
}

// replacer puts free ports and the test's folder in place of those of the page.
type replacer struct {
	t     *testing.T
	data  string
	ports map[string]string
}

func (r *replacer) here(text string) string {
	text = strings.ReplaceAll(text, dataDir, r.data)
	text = address.ReplaceAllStringFunc(text, func(a string) string { return "127.0.0.1:" + r.port(a[len("127.0.0.1:"):]) })
	return strings.ReplaceAll(text, "-p 5432", "-p "+r.port("5432"))
}

func (r *replacer) port(was string) string {
	if r.ports[was] == "" {
		_, port, err := net.SplitHostPort(stage.FreeAddr(r.t))
		require.NoError(r.t, err)
		r.ports[was] = port
	}
	return r.ports[was]
}

func (r *replacer) copy(from, to string) {
	require.NoError(r.t, os.MkdirAll(to, 0o755)) //nolint:gosec // another user reads it
	require.NoError(r.t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, d.Name()), []byte(r.here(string(raw))), 0o644) //nolint:gosec // another user reads it
	}))
}

// programs builds what the page builds or installs, at the versions of go.mod.
func programs(t *testing.T, bin string) {
	t.Helper()
	require.NoError(t, commands.Build(t.Context(), bin, append(commands.All(), "github.com/nats-io/nats-server/v2", "github.com/versity/versitygw/cmd/versitygw")...))
}

// run runs a script in dir, as a user that is not root, and ends what it started.
func run(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), triedWithin)
	defer cancel()
	out, err := os.Create(filepath.Join(dir, "said")) // not a pipe: what goes on in the background would keep it open
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = nobody(t, filepath.Join(dir, "data"))
	}
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the whole group, whose leader was ours
	said, rerr := os.ReadFile(out.Name())
	require.NoError(t, rerr)
	return string(said), err
}

func nobody(t *testing.T, owns string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(owns, int(uid), int(gid))) //nolint:gosec // an id of this machine
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
