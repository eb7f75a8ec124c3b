package pgd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/pg"
)

// hostEnv makes the test binary run a server in the named directory until it is killed.
const hostEnv = "VOICEMILL_TEST_PGD_HOST"

func TestMain(m *testing.M) {
	if dir := os.Getenv(hostEnv); dir != "" {
		os.Exit(host(dir))
	}
	goleak.VerifyTestMain(m)
}

func host(dir string) int {
	s, err := pgd.Start(context.Background(), pgd.Config{DataDir: dir, NoSync: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("pid", s.PID())
	<-s.Done()
	return 0
}

// dataDir returns a folder that the user Postgres runs as may reach.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(d, 0o711)) //nolint:gosec // by another user, see above
	}
	return filepath.Join(dir, "pg")
}

func start(t *testing.T, cfg pgd.Config) *pgd.Server {
	t.Helper()
	s, err := pgd.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

func connect(t *testing.T, s *pgd.Server) *pg.Pool {
	t.Helper()
	pool, err := pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(s.DSN()), MaxConns: 2}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func exec1(t *testing.T, pool *pg.Pool, sql string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func count(t *testing.T, pool *pg.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from things").Scan(&n))
	return n
}

func TestDataOutlivesARestartWhichIsQuick(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, pgd.Config{DataDir: dir}) // with fsync, as in production
	pool := connect(t, s)
	exec1(t, pool, "create table things (n int)")
	exec1(t, pool, "insert into things values (1)")
	pool.Close()
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a second Stop")
	require.NoError(t, s.Err())

	begin := time.Now()
	again := start(t, pgd.Config{DataDir: dir})
	t.Logf("second start: %s", time.Since(begin))
	require.Equal(t, 1, count(t, connect(t, again)))
}

func TestPrivateServerIsDurableAndUnreachableFromOutside(t *testing.T) {
	t.Parallel()
	pool := connect(t, start(t, pgd.Config{DataDir: dataDir(t)}))
	for setting, want := range map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"data_checksums": "on", "unix_socket_permissions": "0700", "server_encoding": "UTF8",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}

func TestASecondServerInADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	start(t, pgd.Config{DataDir: dir, NoSync: true})
	_, err := pgd.Start(t.Context(), pgd.Config{DataDir: dir, NoSync: true}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, dir)
}

func TestACrashedServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := start(t, pgd.Config{DataDir: dataDir(t), NoSync: true})
	pool := connect(t, s)
	exec1(t, pool, "create table things (n int)")
	exec1(t, pool, "insert into things values (1)")
	for range 2 {
		was := s.PID()
		require.NoError(t, syscall.Kill(was, syscall.SIGKILL))
		require.Eventually(t, func() bool { return s.PID() != was }, time.Minute, 5*time.Millisecond)
		require.Eventually(t, func() bool { return pool.Ping(t.Context()) == nil }, time.Minute, 5*time.Millisecond)
		require.Equal(t, 1, count(t, pool))
	}
}

func TestAServerThatIsKilledWhileItRecoversComesBack(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	found, err := pgd.FindBinaries("", "")
	require.NoError(t, err)
	// Programs of which postgres kills itself each time that it finds a file to take away.
	programs, orders := filepath.Join(filepath.Dir(dir), "bin"), filepath.Join(filepath.Dir(dir), "orders")
	for _, d := range []string{programs, orders} {
		require.NoError(t, os.Mkdir(d, 0o755)) //nolint:gosec // Postgres runs as another user
	}
	require.NoError(t, os.Chmod(orders, 0o777)) //nolint:gosec // it takes the orders away
	require.NoError(t, os.Symlink(filepath.Join(found, "initdb"), filepath.Join(programs, "initdb")))
	script := fmt.Sprintf("#!/bin/sh\nfor o in '%s'/*; do rm \"$o\" && kill -9 $$; done 2>/dev/null\nexec '%s/postgres' \"$@\"\n", orders, found)
	require.NoError(t, os.WriteFile(filepath.Join(programs, "postgres"), []byte(script), 0o755)) //nolint:gosec // a program

	s := start(t, pgd.Config{DataDir: dir, BinDir: programs, NoSync: true})
	pool := connect(t, s)
	exec1(t, pool, "create table things (n int)")
	exec1(t, pool, "insert into things values (1)")
	for _, name := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(filepath.Join(orders, name), nil, 0o600))
	}
	was := s.PID()
	require.NoError(t, syscall.Kill(was, syscall.SIGKILL))
	require.Eventually(t, func() bool { return s.PID() != was }, time.Minute, 5*time.Millisecond)
	left, err := os.ReadDir(orders)
	require.NoError(t, err)
	require.Empty(t, left, "every order was followed")
	require.Eventually(t, func() bool { return pool.Ping(t.Context()) == nil }, time.Minute, 5*time.Millisecond)
	require.Equal(t, 1, count(t, pool))
}

func TestAServerThatCannotLiveIsReported(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s, err := pgd.Start(t.Context(), pgd.Config{DataDir: dir, NoSync: true}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "cluster", "global", "pg_control")))
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGKILL))
	err = s.Run(t.Context())
	require.ErrorContains(t, err, "pg_control")
	require.Equal(t, err, s.Err())
}

func TestRunEndsTheServerWithItsContext(t *testing.T) {
	t.Parallel()
	s := start(t, pgd.Config{DataDir: dataDir(t), NoSync: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ctx))
	require.ErrorIs(t, syscall.Kill(s.PID(), 0), syscall.ESRCH)
}

func TestAServerEndsWithItsKilledParentAndItsHeirStarts(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.CommandContext(t.Context(), self) //nolint:gosec // this very binary
	parent.Env = append(os.Environ(), hostEnv+"="+dir)
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "pid ")))
	require.NoError(t, err, line)

	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	s := start(t, pgd.Config{DataDir: dir, NoSync: true}) // at once, while the other is still stopping
	_, err = os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	require.Error(t, err, "the former server still runs") // its entry may wait for init to take it
	require.NoError(t, connect(t, s).Ping(t.Context()))
}

func TestADirectoryWithALongOrOddNameWorks(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{"long": strings.Repeat("long", 30), "odd": `it's a \ "data" dir`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, pgd.Config{DataDir: filepath.Join(dataDir(t), part), NoSync: true})
			require.NoError(t, connect(t, s).Ping(t.Context()))
		})
	}
}

func TestAnUnfinishedDatabaseIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	half := filepath.Join(dir, "cluster.new", "base")
	require.NoError(t, os.MkdirAll(half, 0o755)) //nolint:gosec // as an interrupted start leaves it
	require.NoError(t, connect(t, start(t, pgd.Config{DataDir: dir, NoSync: true})).Ping(t.Context()))
}

func TestADirectoryThatPostgresCannotReachIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root runs Postgres as somebody else
	}
	closed := filepath.Join(filepath.Dir(dataDir(t)), "home")
	require.NoError(t, os.Mkdir(closed, 0o700))
	_, err := pgd.Start(t.Context(), pgd.Config{DataDir: filepath.Join(closed, "data"), NoSync: true}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "chmod o+x "+closed)
}

func TestMissingProgramsAreNamedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	_, err := pgd.Start(t.Context(), pgd.Config{DataDir: dir, BinDir: t.TempDir()}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "postgres and initdb")
	_, err = os.Stat(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestADatabaseOfAnotherVersionIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "cluster"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cluster", "PG_VERSION"), []byte("9\n"), 0o600))
	_, err := pgd.Start(t.Context(), pgd.Config{DataDir: dir}, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, pgd.ErrMissing)
	require.ErrorContains(t, err, "postgresql-9")
}

func TestAStartThatIsInterruptedLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	dir := dataDir(t)
	_, err := pgd.Start(ctx, pgd.Config{DataDir: dir, NoSync: true}, slog.New(slog.DiscardHandler))
	require.Error(t, err)
	require.NoError(t, connect(t, start(t, pgd.Config{DataDir: dir, NoSync: true})).Ping(t.Context()))
}
