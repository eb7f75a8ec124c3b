package s3d

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	maxConnections = 512
	ioBufferBytes  = 256 << 10
	maxParts       = 10_000 // as S3
	region         = "us-east-1"
	portTries      = 5
	readyWithin    = 10 * time.Second
	healthPath     = "/.health" // no bucket is called so
)

var errNotReady = errors.New("s3d: the server was not ready in time")

// Server is a running S3 server. It is safe for concurrent use.
type Server struct {
	endpoint    string
	credentials Credentials
	cancel      context.CancelFunc
	done        chan struct{} // closed when the server has stopped
	err         error         // why; valid once done is closed
}

// Start returns a server that answers requests. It runs until [Server.Stop];
// ctx bounds the start only.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o700); err != nil {
		return nil, fmt.Errorf("s3d: make the data directory: %w", err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, dir, cfg.Listen, lock, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func start(ctx context.Context, dir, listen string, lock *os.File, log *slog.Logger) (*Server, error) {
	creds, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	tries := 1
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	if _, port, _ := net.SplitHostPort(listen); port == "0" {
		tries = portTries // another process may take the port between the look and the use
	}
	for {
		s := &Server{credentials: creds, done: make(chan struct{})}
		if s.endpoint, err = freeAddress(ctx, listen); err == nil {
			err = s.serve(ctx, dir, lock, log)
		}
		if tries--; err == nil || tries == 0 || ctx.Err() != nil {
			return s, err
		}
	}
}

// freeAddress returns listen with a port that is free now in place of 0.
func freeAddress(ctx context.Context, listen string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return "", fmt.Errorf("s3d: %w", err)
	}
	addr := l.Addr().String()
	return addr, l.Close()
}

// open returns the file backend over dir. Attributes of objects (type, ETag)
// are stored with the files, or in a folder beside them where files cannot
// carry any; a folder that was begun that way stays that way.
func open(dir string, log *slog.Logger) (*store, error) {
	root, sidecar := filepath.Join(dir, "objects"), filepath.Join(dir, "sidecar")
	opts := posix.PosixOpts{
		ForceNoObjLockFile: true, // one process, by our own lock
		IOBufferSize:       ioBufferBytes,
		Concurrency:        maxConnections,
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	var stored meta.MetadataStorer = meta.XattrMeta{}
	if _, err := os.Stat(sidecar); err == nil || !hasXattr(root) {
		if err := os.MkdirAll(sidecar, 0o700); err != nil {
			return nil, fmt.Errorf("s3d: make the folder for attributes: %w", err)
		}
		if stored, err = meta.NewSideCar(sidecar); err != nil {
			return nil, fmt.Errorf("s3d: %w", err)
		}
		log.Info("files cannot carry attributes here; they are kept beside", slog.String("directory", sidecar))
	}
	// "." is where the process is already: the library's change of directory changes nothing.
	files, err := posix.New(".", attributes{stored}, opts)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	return &store{files: files, root: root}, nil
}

// serve starts the server and returns when it listens.
func (s *Server) serve(ctx context.Context, dir string, lock *os.File, log *slog.Logger) error {
	be, err := open(dir, log)
	if err != nil {
		return err
	}
	listening := make(chan struct{})
	cfg := &embedgw.Config{
		RootUserAccess: s.credentials.AccessKey, RootUserSecret: s.credentials.SecretKey.Reveal(), Region: region,
		Ports: []string{s.endpoint}, MaxConnections: maxConnections, MaxRequests: maxConnections, MultipartMaxParts: maxParts,
		IAMService: auth.NewIAMServiceSingle(auth.Account{
			Access: s.credentials.AccessKey, Secret: s.credentials.SecretKey.Reveal(), Role: auth.RoleAdmin,
		}),
		HealthPath: healthPath,
		KeepAlive:  true, Quiet: true, DisableACLs: true,
		S3Options: []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	ended := make(chan error, 1)
	go func() { ended <- embedgw.RunVersityGW(running, be, cfg) }() // with cancel or by its failure
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	select {
	case <-listening:
		if err = s.probe(ctx); err != nil {
			break
		}
		go func() { // waited for through done
			if err := <-ended; err != nil {
				s.err = fmt.Errorf("s3d: %w", err)
			}
			_ = lock.Close() // closing frees the lock
			close(s.done)
		}()
		return nil
	case err = <-ended:
		cancel()
		return fmt.Errorf("s3d: start: %w", err)
	case <-timer.C:
		err = errNotReady
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	cancel()
	<-ended //nolint:errcheck // err says why it had to end
	return fmt.Errorf("s3d: start: %w", err)
}

// probe asks the server once: a port that listens is not yet one that answers,
// and a stop before the first answer would leave the library's listener behind.
func (s *Server) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, errNotReady)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.endpoint+healthPath, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", errNotReady, res.Status)
	}
	return nil
}

// Endpoint returns the host:port that the server listens on.
func (s *Server) Endpoint() string { return s.endpoint }

// Region returns the region that clients sign with.
func (s *Server) Region() string { return region }

// Credentials returns the account's keys, the same at every start.
func (s *Server) Credentials() Credentials { return s.credentials }

// Done is closed when the server has stopped; [Server.Err] says why.
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

// Stop ends the server: requests in hand are finished, for ten seconds at
// most. It may be called twice.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("s3d: stop: %w", context.Cause(ctx))
	}
}

// Run blocks until ctx is done and then stops the server, or until it fails.
// It suits lifecycle.Stack.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return s.Stop(context.WithoutCancel(ctx))
	case <-s.done:
		return s.err
	}
}
