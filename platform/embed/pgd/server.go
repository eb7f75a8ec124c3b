package pgd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

var (
	errStartTimeout = errors.New("the Postgres server was not ready in time")
	errStale        = errors.New("a former Postgres server still runs in this data directory")
	errEnded        = errors.New("it ended at once")
	errCrashLoop    = errors.New("the Postgres server keeps crashing")
)

// Server is a running private Postgres. It is safe for concurrent use.
type Server struct {
	cfg    Config
	owner  owner
	bin    string
	layout *layout
	log    *slog.Logger

	stop    context.CancelFunc // asks the supervisor to stop the child
	done    chan struct{}      // closed by the supervisor when the child is gone for good
	err     error              // why; valid once done is closed
	current func() *child      // the child that runs now
}

// Start returns a server that accepts connections. On first start it makes the
// database, which takes a second or two; later starts take some 50 ms. ctx
// bounds the start only; the server runs until [Server.Stop]. At most one
// process may use a data directory: the second one gets an error.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
	defer cancel()
	o, err := cfg.owner(os.Geteuid(), os.Getegid())
	if err != nil {
		return nil, err
	}
	if _, err := FindBinaries(cfg.BinDir, ""); err != nil {
		return nil, fmt.Errorf("pgd: %w", err) // before anything is written
	}
	l, err := prepare(cfg.DataDir, o)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, owner: o, layout: l, log: log, done: make(chan struct{})}
	if err := s.begin(ctx); err != nil {
		l.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) begin(ctx context.Context) (err error) {
	major := s.layout.major()
	if s.bin, err = FindBinaries(s.cfg.BinDir, major); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if major == "" {
		if err := s.makeCluster(ctx); err != nil {
			return err
		}
	}
	if err := s.awaitFormer(ctx, time.Now().Add(staleTimeout)); err != nil {
		return err
	}
	if err := s.secure(ctx); err != nil {
		return err
	}
	c, err := s.startChild(ctx)
	if err != nil {
		return err
	}
	supervised, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	var mu sync.Mutex // guards c
	s.current = func() *child { mu.Lock(); defer mu.Unlock(); return c }
	go s.supervise(supervised, func(next *child) { mu.Lock(); c = next; mu.Unlock() })
	return nil
}

// makeCluster builds the cluster aside and moves it into place when it is
// whole, so that a start which is interrupted begins anew the next time.
func (s *Server) makeCluster(ctx context.Context) error {
	aside := s.layout.cluster + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("pgd: remove an unfinished database: %w", err)
	}
	args := []string{
		"-D", aside, "-U", superuser, "--auth=trust", "--encoding=UTF8", "--locale=C",
		"--data-checksums", "--no-instructions",
	}
	if s.cfg.NoSync {
		args = append(args, "--no-sync")
	}
	begin := time.Now()
	c, err := spawn(command(s.owner, s.layout.base, filepath.Join(s.bin, "initdb"), args...), s.log)
	if err != nil {
		return err
	}
	if err := c.wait(ctx); err != nil {
		return fmt.Errorf("pgd: make the database: %w", err)
	}
	if err := s.single(ctx, aside, "create database "+superuser); err != nil {
		return fmt.Errorf("pgd: create the database: %w", err)
	}
	if !s.cfg.NoSync {
		if err := syncFS(s.layout.base); err != nil { // what the single-user server wrote
			return err
		}
	}
	if err := os.Rename(aside, s.layout.cluster); err != nil {
		return fmt.Errorf("pgd: move the new database into place: %w", err)
	}
	if err := syncDir(s.layout.base); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "database made", slog.String("directory", s.layout.cluster), slog.Duration("duration", time.Since(begin)))
	return nil
}

// single runs one statement in a cluster that no server serves.
func (s *Server) single(ctx context.Context, cluster, sql string) error {
	args := []string{"--single", "-D", cluster}
	if s.cfg.NoSync {
		args = append(args, "-F")
	}
	cmd := command(s.owner, s.layout.base, filepath.Join(s.bin, "postgres"), append(args, "postgres")...)
	cmd.Stdin = strings.NewReader(sql + "\n")
	c, err := spawn(cmd, s.log)
	if err != nil {
		return err
	}
	if err := c.wait(ctx); err != nil {
		return err
	}
	// It ends well whatever becomes of the statement.
	if said := c.tail.String(); strings.Contains(said, "ERROR:") || strings.Contains(said, "FATAL:") {
		return errors.New(said)
	}
	return nil
}

// syncDir makes the entries of dir durable.
func syncDir(dir string) error { return withDir(dir, (*os.File).Sync) }

// syncFS makes everything on dir's file system durable.
func syncFS(dir string) error {
	return withDir(dir, func(d *os.File) error { return unix.Syncfs(int(d.Fd())) })
}

func withDir(dir string, do func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if err := errors.Join(do(d), d.Close()); err != nil {
		return fmt.Errorf("pgd: sync %s: %w", dir, err)
	}
	return nil
}

func (s *Server) args() []string {
	settings := []string{
		"listen_addresses=", "unix_socket_permissions=0700", "cluster_name=voicemill",
		"hba_file=" + filepath.Join(s.layout.base, hbaFile), "password_encryption=scram-sha-256",
		"max_connections=" + strconv.Itoa(s.cfg.MaxConnections),
		"shared_buffers=" + strconv.Itoa(s.cfg.SharedBuffersMB) + "MB",
		"wal_level=minimal", "max_wal_senders=0", "max_wal_size=512MB",
		"wal_compression=on", // half of the log under load is whole pages after a checkpoint, since keys of renditions are random
		"jit=off", "max_parallel_workers_per_gather=0", "logging_collector=off", "log_destination=stderr", "log_line_prefix=",
	}
	if s.cfg.NoSync {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := []string{"-D", s.layout.cluster, "-k", s.layout.socketDir}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	return args
}

// startChild starts the server and returns when it is ready. A former server
// that still shuts down, or whose children do, is waited for.
func (s *Server) startChild(ctx context.Context) (*child, error) {
	patience := time.Now().Add(staleTimeout)
	for {
		if err := s.awaitFormer(ctx, patience); err != nil {
			return nil, err
		}
		c, err := spawn(command(s.owner, s.layout.base, filepath.Join(s.bin, "postgres"), s.args()...), s.log)
		if err != nil {
			return nil, err
		}
		err = s.awaitReady(ctx, c)
		if err == nil {
			return c, nil
		}
		stale := strings.Contains(c.tail.String(), "already exists") || strings.Contains(c.tail.String(), "still in use")
		if !stale || time.Now().After(patience) {
			return nil, fmt.Errorf("pgd: start Postgres: %w", err)
		}
		if !lifecycle.Sleep(ctx, 100*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

// awaitFormer stops a server that a killed parent left in our cluster and
// waits until it is gone.
func (s *Server) awaitFormer(ctx context.Context, until time.Time) error {
	for told := false; ; {
		pid, _ := postmaster(s.layout.cluster)
		if pid == 0 {
			return s.dropEmptyPid(ctx)
		}
		if !runsIn(pid, s.layout.cluster) {
			return nil
		}
		if !told {
			told = true
			s.log.InfoContext(ctx, "a former database server is still stopping", slog.Int("pid", pid))
			_ = syscall.Kill(pid, syscall.SIGINT)
		}
		if time.Now().After(until) {
			return fmt.Errorf("pgd: %w: process %d in %s", errStale, pid, s.layout.cluster)
		}
		if !lifecycle.Sleep(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// dropEmptyPid removes a postmaster.pid that names no process, as a power cut or
// a full disk leaves it: no server would start beside it. We hold the lock, and no
// process is at work in the cluster.
func (s *Server) dropEmptyPid(ctx context.Context) error {
	path := filepath.Join(s.layout.cluster, "postmaster.pid")
	if _, err := os.Lstat(path); err != nil {
		return nil //nolint:nilerr // none is what there should be
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("pgd: look for a former server: %w", err)
	}
	for _, p := range procs {
		if pid, err := strconv.Atoi(p.Name()); err == nil && runsIn(pid, s.layout.cluster) {
			return nil // it starts or stops; who waits asks again
		}
	}
	s.log.WarnContext(ctx, "a postmaster.pid that names no process is removed", slog.String("path", path))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgd: remove an empty postmaster.pid: %w", err)
	}
	return nil
}

// runsIn reports whether process pid is alive with dir as its working
// directory, as every Postgres server is in its data directory. The number
// alone proves nothing: it may have been given to another process.
func runsIn(pid int, dir string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return err == nil && cwd == dir
}

func (s *Server) awaitReady(ctx context.Context, c *child) error {
	for {
		if pid, ready := postmaster(s.layout.cluster); ready && pid == c.pid {
			return nil
		}
		if c.gone() {
			return fmt.Errorf("%w (%w): %s", errEnded, c.err, c.tail.String())
		}
		if !lifecycle.Sleep(ctx, 2*time.Millisecond) {
			return errors.Join(context.Cause(ctx), c.stop(ctx))
		}
	}
}

// supervise restarts a child that ends by itself and stops it when ctx is done.
func (s *Server) supervise(ctx context.Context, set func(*child)) {
	defer close(s.done)
	defer s.layout.release()
	var past crashes
	for {
		c := s.current()
		select {
		case <-ctx.Done():
			s.err = c.stop(context.WithoutCancel(ctx))
			return
		case <-c.exited:
		}
		s.log.ErrorContext(ctx, "Postgres ended by itself", slog.Any("error", c.err), slog.String("log", c.tail.String()))
		next, err := s.restart(ctx, &past, c.tail.String())
		if err != nil {
			if ctx.Err() == nil {
				s.err = err
			}
			return
		}
		set(next)
	}
}

// restart starts the server after a crash. One that ends while it still recovers
// has crashed once more; last is the log of the newest crash.
func (s *Server) restart(ctx context.Context, past *crashes, last string) (*child, error) {
	for {
		if n := past.add(time.Now()); n > crashLimit {
			return nil, fmt.Errorf("pgd: %w: %d times in %s, last: %s", errCrashLoop, n, crashWindow, last)
		}
		start, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
		next, err := s.startChild(start)
		cancel()
		if !errors.Is(err, errEnded) || ctx.Err() != nil {
			return next, err
		}
		s.log.ErrorContext(ctx, "Postgres ended while it recovered", slog.Any("error", err))
		last = err.Error()
		if !lifecycle.Sleep(ctx, crashPause) {
			return nil, context.Cause(ctx)
		}
	}
}

// crashes are the times of the newest crashes, at most crashLimit and one.
type crashes []time.Time

// add notes a crash and returns how many there were in the crashWindow that ends with it.
func (c *crashes) add(now time.Time) int {
	*c = slices.DeleteFunc(append(*c, now), func(t time.Time) bool { return now.Sub(t) > crashWindow })
	return len(*c)
}

// DSN returns the connection string of the server's database. It stays the
// same over a crash. It holds the password.
func (s *Server) DSN() string { return s.layout.dsn() }

// PID returns the process id of the server that runs now.
func (s *Server) PID() int { return s.current().pid }

// Done is closed when the server has stopped for good; [Server.Err] says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server stopped: nil after an orderly Stop, and while it runs.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server and returns when its process is gone, within fifteen
// seconds, or when ctx is done. It may be called twice. Connections are cut;
// committed transactions are safe.
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("pgd: stop Postgres: %w", context.Cause(ctx))
	}
}

// Run blocks until ctx is done and then stops the server, or until the server
// has stopped by itself in spite of its restarts. It suits lifecycle.Stack.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return s.Stop(context.WithoutCancel(ctx))
	case <-s.done:
		return s.err
	}
}
