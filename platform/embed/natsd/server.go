package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	defaultMaxStore  = 4 << 30
	defaultMaxMemory = 192 << 20
	maxPayload       = 2 << 20 // bus.MaxMessageBytes and room for headers
	readyWithin      = 30 * time.Second
	readySlice       = 50 * time.Millisecond
)

var errNotReady = errors.New("natsd: the server was not ready in time")

// Config says where the server stores its streams. The zero value of every
// field but StoreDir means its default.
type Config struct {
	StoreDir  string // made if missing
	Listen    string // host:port for clients from outside; default: this process only. Port 0 picks one
	MaxStore  int64  // bytes on disk that streams may reserve; default 4 GiB
	MaxMemory int64  // bytes of memory streams; default 192 MiB, of which WORK reserves 128
}

// Server is a running NATS server. It is safe for concurrent use.
type Server struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File
	once sync.Once

	stop    context.CancelFunc // ends watch
	watched chan struct{}      // closed when watch has returned

	mu sync.Mutex // guards ns
	ns *server.Server
}

// Start returns a server that accepts connections. It runs until [Server.Stop].
// At most one process may use a directory: the second one gets an error that
// names it. ctx bounds the start.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if cfg.StoreDir == "" {
		return nil, errors.New("natsd: no store directory given")
	}
	if cfg.MaxStore < 0 || cfg.MaxMemory < 0 {
		return nil, fmt.Errorf("natsd: max_store %d and max_memory %d must be positive", cfg.MaxStore, cfg.MaxMemory)
	}
	lock, err := takeLock(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	ns, err := launch(ctx, cfg, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &Server{cfg: cfg, log: log, lock: lock, ns: ns, watched: make(chan struct{})}
	if url := s.URL(); url != "" {
		s.cfg.Listen = ns.Addr().String() // the same port after a restart
	}
	watched, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.watch(watched) // Stop waits for it
	return s, nil
}

// launch starts a server and returns when it takes connections.
func launch(ctx context.Context, cfg Config, log *slog.Logger) (*server.Server, error) {
	opts := &server.Options{
		ServerName: "voicemill", StoreDir: cfg.StoreDir, JetStream: true, SyncAlways: true,
		JetStreamMaxStore: orDefault(cfg.MaxStore, defaultMaxStore), JetStreamMaxMemory: orDefault(cfg.MaxMemory, defaultMaxMemory),
		MaxPayload: maxPayload, NoSigs: true, DontListen: cfg.Listen == "",
	}
	if cfg.Listen != "" {
		host, port, err := hostPort(cfg.Listen)
		if err != nil {
			return nil, err
		}
		opts.Host, opts.Port = host, port
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	lines := &logger{log: log, fatal: make(chan string, 1)}
	ns.SetLoggerV2(lines, false, false, false)
	if err := awaitReady(ctx, ns, lines); err != nil {
		shutdown(ns)
		return nil, err
	}
	return ns, nil
}

// awaitReady starts the server and returns when it takes connections.
func awaitReady(ctx context.Context, ns *server.Server, lines *logger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errNotReady)
	defer cancel()
	started := make(chan struct{})
	go func() { // ends when the streams are read, or with shutdown
		defer close(started)
		ns.Start()
	}()
	for ready := false; !ready; {
		select {
		case line := <-lines.fatal:
			return fmt.Errorf("natsd: %s", line)
		case <-ctx.Done():
			return fmt.Errorf("natsd: start: %w", context.Cause(ctx))
		case <-started:
			ready = ns.ReadyForConnections(readySlice)
		}
	}
	if !ns.JetStreamEnabled() {
		return fmt.Errorf("%w: JetStream is off", errNotReady)
	}
	return tellOfItself(ns)
}

// serverInfo is what package bus asks to see whether messages are synced.
const serverInfo = "$SYS.REQ.SERVER.PING.JSZ"

// tellOfItself lets every client ask what otherwise the system account may.
func tellOfItself(ns *server.Server) error {
	system, clients := ns.SystemAccount(), ns.GlobalAccount()
	err := system.AddServiceExportWithResponse(serverInfo, server.Streamed, []*server.Account{clients})
	if err == nil {
		err = clients.AddServiceImport(system, serverInfo, serverInfo)
	}
	if err != nil {
		return fmt.Errorf("natsd: let clients ask for %s: %w", serverInfo, err)
	}
	return nil
}

func orDefault(v, d int64) int64 {
	if v == 0 {
		return d
	}
	return v
}

func hostPort(listen string) (string, int, error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("natsd: listen address: %w", err)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("natsd: listen address %q: the port is not a number from 0 to 65535", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func takeLock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("natsd: make the store directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("natsd: open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("natsd: another process already runs NATS in %s", dir)
		}
		return nil, fmt.Errorf("natsd: lock %s: %w", dir, err)
	}
	return f, nil
}

// current returns the server that runs now, or did last.
func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ns
}

// InProcessConn returns a new connection to the server, for bus.InProcess.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

// URL returns where clients from outside connect, or "" if they cannot.
func (s *Server) URL() string {
	if a, ok := s.current().Addr().(*net.TCPAddr); ok && a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Healthy reports what keeps JetStream from serving, such as a failed write,
// after which a stream is frozen until the server is started again.
func (s *Server) Healthy() error {
	status := s.current().Healthz(nil)
	if status.Error != "" {
		return fmt.Errorf("natsd: %s: %s", status.Status, status.Error)
	}
	return nil
}

// Stop ends the server and returns when it has written everything. It may be
// called twice. Drain the clients first.
func (s *Server) Stop() {
	s.once.Do(func() {
		s.stop()
		<-s.watched
		shutdown(s.current())
		_ = s.lock.Close() // closing frees the lock
	})
}

func shutdown(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// Run blocks until ctx is done and then stops the server. It suits lifecycle.Stack.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.Stop()
	return nil
}
