package apart_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// files are the settings that docs/deploy.md shows.
const files = "../../deployments/apart"

// site is one deployment. Its programs see the files of deployments/apart, only
// with other ports and folders, so that tests may run side by side.
type site struct {
	dir   string
	ports map[string]string // of the files, by what stands in for them
	env   map[string][]string
	procs map[string]*program
}

// program is one process.
type program struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// services are the programs of voicemill, each with its files of settings.
var services = map[string][]string{
	"gateway":     {"common", "gateway"},
	"scheduler":   {"common", "scheduler"},
	"scheduler-2": {"common", "scheduler-2"},
	"worker":      {"common", "worker"},
	"worker-2":    {"common", "worker-2"},
}

var nats = []string{"nats-1", "nats-2", "nats-3"}

// newSite lays out the files and an empty database; nothing runs yet.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: stage.Dir(t), ports: map[string]string{}, env: map[string][]string{}, procs: map[string]*program{}}
	conf, err := os.ReadFile(filepath.Join(files, "nats.conf"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(s.here(t, string(conf))), 0o600))
	for name, parts := range services {
		for _, part := range parts {
			s.env[name] = append(s.env[name], s.read(t, part)...)
		}
	}
	for _, name := range append(slices.Clone(nats), "versitygw") {
		s.env[name] = s.read(t, name)
	}
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "s3"), 0o755)) //nolint:gosec // as a package would
	s.prepareDatabase(t)
	t.Cleanup(func() { s.end(t) })
	return s
}

var portOf = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// here puts free ports and the site's folder in place of those of the files.
func (s *site) here(t *testing.T, text string) string {
	t.Helper()
	text = strings.ReplaceAll(text, "/var/lib/voicemill", s.dir)
	return portOf.ReplaceAllStringFunc(text, func(address string) string {
		if s.ports[address] == "" {
			s.ports[address] = stage.FreeAddr(t)
		}
		return s.ports[address]
	})
}

// read reads an environment file as systemd and docker do.
func (s *site) read(t *testing.T, name string) (env []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(files, name+".env"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, s.here(t, line))
		}
	}
	return env
}

// owner is the user that Postgres runs as, which refuses root; nil is whoever runs
// the test.
func owner(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// postgres returns a command of Postgres.
func postgres(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	path := name
	if len(found) > 0 {
		path = found[len(found)-1]
	}
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // fixed names; the site ends it
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner(t)}
	return cmd
}

// prepareDatabase does what comes before a first start: an empty database and its
// user.
func (s *site) prepareDatabase(t *testing.T) {
	t.Helper()
	dir, password := filepath.Join(s.dir, "postgres"), filepath.Join(s.dir, "password")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(password, []byte("change-me\n"), 0o644)) //nolint:gosec // Postgres runs as another user
	if o := owner(t); o != nil {
		require.NoError(t, os.Chown(dir, int(o.Uid), int(o.Gid)))
	}
	initdb := postgres(t, "initdb", "-D", dir, "-U", "voicemill", "-A", "scram-sha-256", "--pwfile="+password, "-N", "-E", "UTF8")
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, "%s", out)
	create := postgres(t, "postgres", "--single", "-D", dir, "postgres")
	create.Stdin = strings.NewReader("create database voicemill;\n")
	out, err = create.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// start starts everything at once.
func (s *site) start(t *testing.T) {
	t.Helper()
	for _, name := range nats {
		s.nats(t, name)
	}
	s.run(t, "versitygw", exec.Command(filepath.Join(bin, "versitygw"), "posix", filepath.Join(s.dir, "s3"))) //nolint:gosec,noctx // as above
	_, port, err := net.SplitHostPort(s.ports["127.0.0.1:5432"])
	require.NoError(t, err)
	s.run(t, "postgres", postgres(t, "postgres", "-D", filepath.Join(s.dir, "postgres"), "-h", "127.0.0.1", "-p", port, "-k", ""))
	for name := range services {
		s.service(t, name)
	}
}

func (s *site) nats(t *testing.T, name string) {
	t.Helper()
	s.run(t, name, exec.Command(filepath.Join(bin, "nats-server"), "-c", filepath.Join(s.dir, "nats.conf"))) //nolint:gosec,noctx // built by TestMain; the site ends it
}

// service starts one of the services.
func (s *site) service(t *testing.T, name string) {
	t.Helper()
	binary, _, _ := strings.Cut(name, "-")
	s.run(t, name, exec.Command(filepath.Join(bin, binary))) //nolint:gosec,noctx // as above
}

func (s *site) run(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, s.env[name]...)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &program{cmd: cmd, log: filepath.Join(s.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start(), name)
	go func() { _ = cmd.Wait(); close(p.done) }() // ends with the program
	s.procs[name] = p
}

// stop asks a program to end, or kills it, and waits for it.
func (s *site) stop(name string, sig syscall.Signal) error {
	p := s.procs[name]
	_ = p.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within a minute", name)
	}
}

// end stops everything, services first, and shows the logs of a failed test.
func (s *site) end(t *testing.T) {
	t.Helper()
	order := append(append([]string{"gateway", "scheduler", "scheduler-2", "worker", "worker-2"}, nats...), "versitygw", "postgres")
	for _, name := range order {
		if s.procs[name] == nil {
			continue
		}
		if err := s.stop(name, syscall.SIGINT); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(s.procs[name].log); err == nil && t.Failed() {
			t.Logf("log of %s:\n%s", name, b[max(0, len(b)-2048):])
		}
	}
}

// ready waits until every service is ready, none of which may end meanwhile, and
// returns when that was.
func (s *site) ready(ctx context.Context, t *testing.T) time.Time {
	t.Helper()
	for name := range services {
		var said string
		for said != "ready" {
			select {
			case <-s.procs[name].done:
				require.Fail(t, name+" has ended")
			case <-ctx.Done():
				require.Fail(t, name+" is not ready", said)
			case <-time.After(20 * time.Millisecond):
			}
			said = s.readyz(ctx, name)
		}
	}
	return time.Now()
}

// readyz returns "ready" or what a service says instead.
func (s *site) readyz(ctx context.Context, name string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.value(name, "VOICEMILL_ADMIN")+"/readyz", http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode == http.StatusOK {
		return "ready"
	}
	return string(body)
}

// value returns a variable of a program.
func (s *site) value(name, variable string) (value string) {
	for _, line := range s.env[name] {
		if v, ok := strings.CutPrefix(line, variable+"="); ok {
			value = v // the last file wins
		}
	}
	return value
}

// cluster is what the servers say of a stream.
type cluster struct {
	Replicas int
	Leader   string
	Current  bool // every copy is
}

// stream asks a NATS server that answers, as the services do.
func (s *site) stream(ctx context.Context, t *testing.T, name string) (c cluster) {
	t.Helper()
	for _, server := range nats {
		answer, err := request(ctx, s.value(server, "NATS_LISTEN"), "$JS.API.STREAM.INFO."+name)
		if err != nil {
			continue // this one is down
		}
		var info struct {
			Config struct {
				NumReplicas int `json:"num_replicas"`
			} `json:"config"`
			Cluster struct {
				Leader   string
				Replicas []struct{ Current bool }
			} `json:"cluster"`
		}
		require.NoError(t, json.Unmarshal(answer, &info))
		c = cluster{Replicas: info.Config.NumReplicas, Leader: info.Cluster.Leader, Current: info.Cluster.Leader != ""}
		for _, r := range info.Cluster.Replicas {
			c.Current = c.Current && r.Current
		}
		return c
	}
	require.Fail(t, "no NATS server answers")
	return c
}

// request speaks the protocol of NATS by hand: one request, one answer. The client
// library belongs to platform/bus.
func request(ctx context.Context, address, subject string) ([]byte, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	connect := `CONNECT {"verbose":false,"user":"voicemill","pass":"change-me","headers":false}`
	if _, err := fmt.Fprintf(c, "%s\r\nSUB answer 1\r\nPUB %s answer 0\r\n\r\n", connect, subject); err != nil {
		return nil, err
	}
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "MSG" {
			continue
		}
		size, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		_, err = io.ReadFull(r, body)
		return bytes.TrimSpace(body), err
	}
}
