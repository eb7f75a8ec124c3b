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
	"sync"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

const (
	maxConnections = publicConns + privateConns
	ioBufferBytes  = 256 << 10
	maxParts       = 10_000 // as S3
	region         = "us-east-1"
	socketName     = "private.sock"
	maxSocketPath  = 107 // sun_path holds 108 bytes with the final zero
	readyWithin    = 10 * time.Second
	healthPath     = "/.health" // no bucket is called so
)

var errNotReady = errors.New("s3d: the server was not ready in time")

// Server is a running S3 server. It is safe for concurrent use.
type Server struct {
	endpoint    string
	socket      string // of this process
	dir         *os.File
	door        *door
	store       *store
	inside      inside
	credentials Credentials
	stopping    chan struct{} // closed by Stop
	stop        func()        // closes it
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
	s, err := start(ctx, dir, cfg, lock, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func start(ctx context.Context, dir string, cfg Config, lock *os.File, log *slog.Logger) (*Server, error) {
	creds, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	listen := cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	public, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	if public, err = cfg.secure(public); err != nil {
		return nil, err
	}
	s := &Server{credentials: creds, endpoint: public.Addr().String(), done: make(chan struct{})}
	if err := s.place(dir); err != nil {
		return nil, errors.Join(err, public.Close())
	}
	s.door = newDoor(s.InProcessConn, log)
	if err := s.serve(ctx, dir, cfg.MD5, lock, public, log); err != nil {
		return nil, errors.Join(err, public.Close(), s.dir.Close())
	}
	return s, nil
}

// place decides where the private socket is. A path that is too long for one goes
// by a descriptor of its folder.
func (s *Server) place(dir string) (err error) {
	if s.dir, err = os.Open(dir); err != nil {
		return fmt.Errorf("s3d: %w", err)
	}
	s.socket = filepath.Join(dir, socketName)
	if len(s.socket) > maxSocketPath {
		s.socket = fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.Fd(), socketName)
	}
	return nil
}

// InProcessConn returns a connection for this process alone: it is not held to
// the limits of the public address, and no client can take its place.
func (s *Server) InProcessConn(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", s.socket)
}

// open returns the file backend over dir. Attributes of objects (type, ETag)
// are stored with the files, or in a folder beside them where files cannot
// carry any; a folder that was begun that way stays that way.
func open(dir string, md5 bool, log *slog.Logger) (*store, error) {
	root, sidecar := filepath.Join(dir, "objects"), filepath.Join(dir, "sidecar")
	opts := posix.PosixOpts{
		ForceNoObjLockFile: true, // one process, by our own lock
		IOBufferSize:       ioBufferBytes,
		Concurrency:        maxConnections,
		// An ETag is the CRC-64/NVME that is kept anyway: MD5 over all bytes took as long
		// as all else that is done to an object. What has an MD5 keeps it.
		DataIntegrityEtag: !md5,
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

// serve starts the server and its door, and returns when both listen.
func (s *Server) serve(ctx context.Context, dir string, md5 bool, lock *os.File, public net.Listener, log *slog.Logger) error {
	be, err := open(dir, md5, log)
	if err != nil {
		return err
	}
	s.store = be
	listening := make(chan struct{})
	cfg := &embedgw.Config{
		RootUserAccess: s.credentials.AccessKey, RootUserSecret: s.credentials.SecretKey.Reveal(), Region: region,
		Ports: []string{s.socket}, SocketPerm: "0600", MaxConnections: maxConnections, MaxRequests: maxConnections, MultipartMaxParts: maxParts,
		IAMService: auth.NewIAMServiceSingle(auth.Account{
			Access: s.credentials.AccessKey, Secret: s.credentials.SecretKey.Reveal(), Role: auth.RoleAdmin,
		}),
		HealthPath: healthPath,
		KeepAlive:  true, Quiet: true, DisableACLs: true,
		S3Options: []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopping = make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	ended := make(chan error, 1)
	go func() { ended <- embedgw.RunVersityGW(running, be, cfg) }() // with cancel or by its failure
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	select {
	case <-listening:
		if err = s.probe(ctx); err != nil {
			break
		}
		go s.supervise(context.WithoutCancel(ctx), cancel, ended, public, lock) // waited for through done
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

// supervise opens the door and keeps it open until [Server.Stop], or until one of
// the two ends. The door is closed before the server behind it.
func (s *Server) supervise(ctx context.Context, cancel func(), ended chan error, public net.Listener, lock *os.File) {
	shut := make(chan error, 1)
	go func() { shut <- s.door.run(public) }()
	var err error
	select {
	case <-s.stopping:
	case err = <-ended:
		ended <- nil // for below
	case err = <-shut:
		shut <- nil
	}
	s.door.stop(ctx)
	s.inside.close(drainWithin)
	cancel()
	if err = errors.Join(err, <-shut, <-ended); err != nil {
		s.err = fmt.Errorf("s3d: %w", err)
	}
	_ = s.dir.Close()
	_ = lock.Close() // closing frees the lock
	close(s.done)
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
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return s.InProcessConn(ctx) },
	}}
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

// Stop ends the server: requests in hand are finished, for twenty seconds at
// most. It may be called twice.
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
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
