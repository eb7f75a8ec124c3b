package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/e2e/peers"
)

// The servers, by the names that the tables give them.
const (
	ours     = "gateway"
	nethttp  = "net/http"
	fasthttp = "fasthttp"
	netty    = "Netty"
)

// artifact is below the path of a job: what is downloaded, through the server.
const artifact = "/artifacts/chapter-001.wav?proxy=1"

// The paths of peers; a gateway's are those of its job.
const (
	peerJob  = "/v1/jobs/job_06abcdefghjkmnpqrstvwxyz0123456789abcd"
	peerLive = "/v1/jobs/x/live"
)

// server is one server that runs.
type server struct {
	name string
	proc *process
	addr string
	tls  bool
	key  string
	job  string // path of the status
	live string // path of a WebSocket

	admin string // of a gateway
}

func (s *server) url(path string) string {
	if s.tls {
		return "https://" + s.addr + path
	}
	return "http://" + s.addr + path
}

func (s *server) pid() int { return s.proc.cmd.Process.Pid }

func (s *server) client() *http.Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // at the server that is measured
	return &http.Client{Timeout: 20 * time.Second, CheckRedirect: stay, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its certificate was made a moment ago
	}}
}

const startTimeout = 30 * time.Second

// pinned is what runs a server on its processor.
func pinned(argv ...string) []string {
	return append([]string{"taskset", "-c", strconv.Itoa(serverCPU)}, argv...)
}

// gateway starts one gateway with the settings of production, but for limits so
// high that nobody reaches them.
func (b *bench) gateway(ctx context.Context, secure bool) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	const most = "50000000/1s:50000000"
	env := append([]string{
		"GOMAXPROCS=1", "VOICEMILL_ADMIN=" + admin, "VOICEMILL_PID_FILE=" + filepath.Join(b.dir, "pid"),
		"VOICEMILL_KEY_RATE=" + most, "VOICEMILL_TENANT_RATE=" + most, "VOICEMILL_KEY_TEXT=off", "VOICEMILL_TENANT_TEXT=off",
	}, b.back.env...)
	argv := pinned(filepath.Join(b.bin, "gateway"), "--listen", addr)
	if secure {
		argv = append(argv, "--tls-cert", b.cert, "--tls-key", b.key)
	}
	p, err := startLogging(ours, filepath.Join(b.dir, "gateway.log"), env, argv...)
	if err != nil {
		return nil, err
	}
	s := &server{name: ours, proc: p, addr: addr, tls: secure, key: b.back.key, live: "/v1/connect", admin: admin}
	if err := s.await(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("%w; see %s", err, p.name)
	}
	return s, nil
}

// await waits until the gateway answers and knows a voice.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		status, _, err := call(ctx, s, http.MethodGet, "/v1/voices", "")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s answers %d: %w", s.name, status, err)
		case <-s.proc.done:
			return fmt.Errorf("%s ended: %w", s.name, s.proc.err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// peer starts one peer that answers with the document in file.
func (b *bench) peer(ctx context.Context, name string, secure, live bool, file string) (*server, error) {
	var argv []string
	if name == netty {
		argv = []string{
			"java", "-Xmx1g", "-Dio.netty.leakDetection.level=disabled", "-Djob=" + file, "-Dlive=" + strconv.FormatBool(live),
			"-cp", filepath.Join(b.netty, "netty-peer-1.jar") + ":" + filepath.Join(b.netty, "lib", "*"), "Server", "127.0.0.1:0", "1",
		}
		if secure {
			argv = append(argv, b.cert, b.key)
		}
	} else {
		argv = []string{filepath.Join(b.bin, map[string]string{nethttp: "peer-nethttp", fasthttp: "peer-fasthttp"}[name]), "-job", file}
		if secure {
			argv = append(argv, "-cert", b.cert, "-key", b.key)
		}
	}
	p, err := start(name, filepath.Join(b.dir, "peer.log"), []string{"GOMAXPROCS=1"}, pinned(argv...)...)
	if err != nil {
		return nil, err
	}
	addr, err := p.first(ctx, startTimeout)
	if err != nil {
		p.stop()
		return nil, err
	}
	return &server{name: name, proc: p, addr: addr, tls: secure, key: peers.Key, job: peerJob, live: peerLive}, nil
}

// peers lists those that take part.
func (b *bench) peers() []string {
	list := []string{nethttp, fasthttp}
	if b.netty != "" {
		list = append(list, netty)
	}
	return list
}

// all starts every server.
func (b *bench) all(ctx context.Context, secure bool) (list []*server, stop func(), err error) {
	stop = func() {
		for _, s := range list {
			s.proc.stop()
		}
	}
	first, err := b.gateway(ctx, secure)
	if err != nil {
		return nil, stop, err
	}
	list = append(list, first)
	path, document, err := b.job(ctx, first)
	if err != nil {
		return list, stop, err
	}
	first.job = path
	file := filepath.Join(b.dir, "job.json")
	if err := writeFile(file, document); err != nil {
		return list, stop, err
	}
	for _, name := range b.peers() {
		s, err := b.peer(ctx, name, secure, false, file)
		if err != nil {
			return list, stop, err
		}
		list = append(list, s)
	}
	return list, stop, nil
}
