package stage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/testkit/commands"
)

// The programs on a Stage. Database is the Postgres server itself: it is
// restarted by the process around it, as an init system would.
const (
	Gateway   = "gateway"
	Scheduler = "scheduler"
	Worker    = "worker"
	NATS      = "nats"
	Database  = "postgres"
	S3        = "s3"
)

// The ports that a Stage takes; Linux's own range begins at 32768.
const (
	lowPort  = 20_000
	highPort = 32_000
)

// patience is how late a gateway's bus may be before its clients hear of it.
const patience = "30s"

// Patient are settings for [New]: the gateway turns nobody away because the
// machine is slow. They are for tests whose clients take no refusal.
func Patient() []string {
	return []string{"VOICEMILL_SHED_BULK=" + patience, "VOICEMILL_SHED_INTERACTIVE=" + patience, "VOICEMILL_PUBLISH_TIMEOUT=" + patience}
}

// Stage is one deployment. Its methods are safe for concurrent use; only Kill
// and Start of one program must not overlap.
type Stage struct {
	URL string // of the API
	Key string // an administrator's

	bin    string
	env    []string // of the services
	others []string // what Another started
	store  address  // of the S3 server
	dir    string
	procs  map[string]*process
	admins map[string]string // address of the admin port, by program
}

// New starts everything and ends it with the test; settings, as NAME=value, are
// for the gateway alone. The test's failure leaves the logs in its output.
func New(tb testing.TB, bin string, settings ...string) *Stage {
	tb.Helper()
	return NewThrough(tb, bin, func(s3 string) string { return s3 }, settings...)
}

// NewThrough is New with a gateway that reaches the S3 server at the address that
// relay returns for the real one.
func NewThrough(tb testing.TB, bin string, relay func(s3 string) string, settings ...string) *Stage {
	tb.Helper()
	return open(tb, bin, relay, nil, settings)
}

// NewWorker is New with settings for the worker alone.
func NewWorker(tb testing.TB, bin string, settings ...string) *Stage {
	tb.Helper()
	return open(tb, bin, func(s3 string) string { return s3 }, settings, nil)
}

func open(tb testing.TB, bin string, relay func(s3 string) string, worker, gateway []string) *Stage {
	tb.Helper()
	s := &Stage{dir: tb.TempDir(), procs: map[string]*process{}, admins: map[string]string{}}
	require.NoError(tb, os.Chmod(filepath.Dir(s.dir), 0o755)) //nolint:gosec // Postgres runs as another user and must pass
	require.NoError(tb, os.Chmod(s.dir, 0o755))               //nolint:gosec // as above
	tb.Cleanup(func() { s.end(tb) })

	nats, s3, gw := FreeAddr(tb), FreeAddr(tb), FreeAddr(tb)
	var db, store address
	s.role(tb, Database, "", &db)
	s.role(tb, NATS, nats, &address{})
	s.role(tb, S3, s3, &store)

	env := []string{
		"VOICEMILL_DB_DSN=" + db.Endpoint, "VOICEMILL_BUS_URL=nats://" + nats,
		"VOICEMILL_BLOB_ENDPOINT=" + s3, "VOICEMILL_BLOB_ACCESS_KEY=" + store.AccessKey, "VOICEMILL_BLOB_SECRET_KEY=" + store.SecretKey,
		"VOICEMILL_LISTEN=" + gw, "VOICEMILL_CALLBACK_PRIVATE=true", "VOICEMILL_CALLBACK_ALLOW_PRIVATE=true",
		"PATH=" + os.Getenv("PATH"),
	}
	out, err := s.command(tb.Context(), bin, env, "voicemill", "init", "--print-key", "--first-key", filepath.Join(s.dir, "first-key"))
	require.NoError(tb, err)
	s.Key = strings.TrimSpace(out)
	s.URL = "http://" + gw
	s.bin, s.env, s.store = bin, env, store
	s.service(tb, Worker, Worker, append(slices.Clone(env), worker...))
	s.service(tb, Scheduler, Scheduler, env)
	env = append(env, "VOICEMILL_BLOB_ENDPOINT="+relay(s3))
	s.service(tb, Gateway, Gateway, append(env, gateway...))
	require.NoError(tb, awaitOK(tb.Context(), "http://"+s.admins[Gateway]+"/readyz")) // the worker has its voices registered
	return s
}

// Build builds the commands of the services into a folder that lives as long
// as the process of the tests.
func Build(ctx context.Context, dir string) error {
	return commands.Build(ctx, dir, commands.All()...)
}

// Kill ends a program as kill -9 does.
func (s *Stage) Kill(name string) {
	if name == Database {
		s.killDatabase()
		return
	}
	s.procs[name].kill()
}

// Start starts a program that was killed or stopped and waits until it serves.
func (s *Stage) Start(ctx context.Context, name string) error {
	if name == Database {
		return nil // the process around it starts it again
	}
	return s.procs[name].start(ctx)
}

// Away ends a program for good, Postgres with the process around it, until
// [Stage.Back] brings it back.
func (s *Stage) Away(name string) { s.procs[name].kill() }

// Back starts a program that is away and waits until it serves.
func (s *Stage) Back(ctx context.Context, name string) error { return s.procs[name].start(ctx) }

// Bucket opens the bucket of the deployment, not through a relay.
func (s *Stage) Bucket(tb testing.TB) *blob.Store {
	tb.Helper()
	b, err := blob.Open(tb.Context(), blob.Config{
		Endpoint: s.store.Endpoint, Bucket: "voicemill", AccessKey: s.store.AccessKey, SecretKey: config.NewSecret(s.store.SecretKey),
	})
	require.NoError(tb, err)
	tb.Cleanup(b.Close)
	return b
}

// Freeze stops a program in its tracks: its connections stay and nobody answers.
func (s *Stage) Freeze(name string) error { return s.signal(name, syscall.SIGSTOP) }

// Thaw lets a program go on that [Stage.Freeze] stopped.
func (s *Stage) Thaw(name string) error { return s.signal(name, syscall.SIGCONT) }

func (s *Stage) signal(name string, sig syscall.Signal) error {
	if name != Database {
		return s.procs[name].signal(sig)
	}
	for _, pid := range s.postgres() {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal Postgres: %w", err)
		}
	}
	return nil
}

// postgres lists the server and, after it, its children, one for each connection.
func (s *Stage) postgres() []int {
	var all []int
	matches, _ := filepath.Glob(filepath.Join(s.dir, Database, "*", "postmaster.pid"))
	for _, path := range append(matches, filepath.Join(s.dir, Database, "postmaster.pid")) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
			all = append(all, pid)
		}
	}
	servers := slices.Clone(all)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		pid, rest, _ := strings.Cut(string(b), " ")
		_, rest, _ = strings.Cut(rest, ") ") // the name may have anything in it
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		if n, err := strconv.Atoi(pid); err == nil && slices.Contains(servers, parent) {
			all = append(all, n)
		}
	}
	return all
}

// PID returns the process id that a program wrote when it served, which may be
// that of a process the stage did not start. NATS, Database and S3 write none:
// it is that of what the stage started; 0 if it does not run.
func (s *Stage) PID(name string) int {
	b, err := os.ReadFile(s.pidFile(name))
	if err != nil {
		return s.procs[name].pid()
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// Admin returns the address of a service's admin port.
func (s *Stage) Admin(name string) string { return s.admins[name] }

// Log returns the file with everything that a program wrote.
func (s *Stage) Log(name string) string { return s.procs[name].logPath }

func (s *Stage) pidFile(name string) string { return filepath.Join(s.dir, name+".pid") }

// Command returns the command of a program as the stage runs it, not started.
// Whoever starts it ends it.
func (s *Stage) Command(name string) *exec.Cmd { return s.procs[name].command() }

// Stop asks a program to end and waits for it.
func (s *Stage) Stop(name string) error { return s.procs[name].stop() }

// killDatabase kills the postmaster; its children end by themselves.
func (s *Stage) killDatabase() {
	if all := s.postgres(); len(all) > 0 {
		_ = syscall.Kill(all[0], syscall.SIGKILL) // it may be down already
	}
}

func (s *Stage) role(tb testing.TB, name, listen string, into *address) {
	tb.Helper()
	dir := filepath.Join(s.dir, name)
	require.NoError(tb, os.MkdirAll(dir, 0o755)) //nolint:gosec // Postgres runs as another user
	p := &process{
		name: name, logPath: filepath.Join(s.dir, name+".log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this test binary; the stage ends it
			cmd.Env = append(os.Environ(), roleEnv+"="+name, dirEnv+"="+dir, listenEnv+"="+listen)
			return cmd
		},
		ready: func(ctx context.Context, first <-chan string) error { return readLine(ctx, first, into) },
	}
	s.procs[name] = p
	require.NoError(tb, p.start(tb.Context()))
}

// Another starts one more process of a program, under a name of its own;
// settings, as NAME=value, are its alone.
func (s *Stage) Another(tb testing.TB, program, name string, settings ...string) {
	tb.Helper()
	s.others = append(s.others, name)
	s.service(tb, program, name, append(slices.Clone(s.env), settings...))
}

// Setting returns what the services have for a setting.
func (s *Stage) Setting(name string) string {
	for _, v := range s.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func (s *Stage) service(tb testing.TB, program, name string, env []string) {
	tb.Helper()
	admin := FreeAddr(tb)
	p := &process{
		name: name, logPath: filepath.Join(s.dir, name+".log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(s.bin, program)) //nolint:gosec,noctx // built by Build; the stage ends it
			cmd.Env = append(slices.Clone(env), "VOICEMILL_ADMIN="+admin, "VOICEMILL_PID_FILE="+s.pidFile(name))
			return cmd
		},
		ready: func(ctx context.Context, _ <-chan string) error { return awaitOK(ctx, "http://"+admin+"/healthz") },
	}
	s.procs[name], s.admins[name] = p, admin
	require.NoError(tb, p.start(tb.Context()))
}

func (s *Stage) command(ctx context.Context, bin string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...) //nolint:gosec // built by Build
	cmd.Env, cmd.Stderr = env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	return string(out), nil
}

// awaitOK waits until url answers with 200.
func awaitOK(ctx context.Context, url string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !lifecycle.Sleep(ctx, 2*time.Millisecond) {
			return fmt.Errorf("%s did not answer with 200: %w", url, context.Cause(ctx))
		}
	}
}

// end stops everything, last started first, and shows the logs of a failed test.
func (s *Stage) end(tb testing.TB) {
	tb.Helper()
	for _, name := range append(s.others, Worker, Scheduler, Gateway, S3, NATS, Database) {
		if p := s.procs[name]; p != nil {
			if err := p.stop(); err != nil {
				tb.Error(err)
			}
			if tb.Failed() {
				b, _ := os.ReadFile(p.logPath)
				tb.Logf("log of %s, from %s:\n%s", name, p.logPath, excerpt(b))
			}
		}
	}
}

// FreeAddr returns a loopback address that is free now and that no outgoing
// connection takes: it lies below the range that the kernel picks from, since a
// program that is killed must find its port again. Until the test ends no other
// one of this machine gets it.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	var lc net.ListenConfig
	for range 100 {
		port := lowPort + rand.IntN(highPort-lowPort) //nolint:gosec // no secret
		lock, err := lockPort(port)
		if err != nil {
			continue // it is another stage's
		}
		l, err := lc.Listen(tb.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = lock.Close()
			continue
		}
		tb.Cleanup(func() { _ = lock.Close() })
		require.NoError(tb, l.Close())
		return l.Addr().String()
	}
	tb.Fatal("no port is free")
	return ""
}

// lockPort makes the caller the only one who may use a port, until it closes the
// file. The files are empty and stay, at most one a port.
func lockPort(port int) (*os.File, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("voicemill-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
