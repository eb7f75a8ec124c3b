package pgd_test

import (
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/embed/pgd"
)

const nobody = 65534

// psql asks the server as another process of the user it runs as.
func psql(t *testing.T, dsn string) (said string, err error) {
	t.Helper()
	bin, err := pgd.FindBinaries("", "")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "psql"), "--no-password", "--no-psqlrc", "-Atc", "select 1", dsn) //nolint:gosec // an installed program
	cmd.Dir, cmd.Env = "/", []string{"LC_ALL=C"}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	raw, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(raw)), err
}

var passwordOf = regexp.MustCompile(` password='?[^' ]*'?`)

func TestOnlyWhoHasTheSecretIsLetIn(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, pgd.Config{DataDir: dir, NoSync: true})
	said, err := psql(t, s.DSN())
	require.NoError(t, err, said)
	require.Equal(t, "1", said)

	said, err = psql(t, passwordOf.ReplaceAllString(s.DSN(), ""))
	require.Error(t, err, "another process of the same user got in: %s", said)
	require.Contains(t, said, "password")

	info, err := os.Stat(filepath.Join(dir, "password"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	owner, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.EqualValues(t, os.Geteuid(), owner.Uid, "it is not the server's to read")

	again, err := pgd.DSN(dir)
	require.NoError(t, err)
	require.Equal(t, s.DSN(), again)
}

func TestADatabaseWithoutASecretGetsOne(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, pgd.Config{DataDir: dir, NoSync: true})
	exec1(t, connect(t, s), "alter role voicemill password null") // as one made by an earlier version
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, os.Remove(filepath.Join(dir, "password")))

	again := start(t, pgd.Config{DataDir: dir, NoSync: true})
	require.NotEqual(t, s.DSN(), again.DSN())
	require.NoError(t, connect(t, again).Ping(t.Context()))
}

func TestAPidFileThatSaysNothingIsNoServer(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{"empty": "", "zeros": strings.Repeat("\x00", 90), "cut": "\n/somewhere\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			s := start(t, pgd.Config{DataDir: dir, NoSync: true})
			require.NoError(t, s.Stop(t.Context()))
			path := filepath.Join(dir, "cluster", "postmaster.pid")
			require.NoError(t, os.WriteFile(path, []byte(left), 0o600))
			if os.Geteuid() == 0 {
				require.NoError(t, os.Chown(path, nobody, nobody))
			}

			again, err := pgd.Start(t.Context(), pgd.Config{DataDir: dir, NoSync: true}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.NoError(t, again.Stop(t.Context()))
		})
	}
}
