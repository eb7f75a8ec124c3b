package pgd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is one run of the postgres program. Its fields are set before exited
// is closed and not changed afterwards.
type child struct {
	pid    int
	exited chan struct{} // closed when the process is gone and its log is read
	err    error         // why it ended; valid once exited is closed
	tail   tail
}

// tail keeps the newest lines of the log, for error messages.
type tail struct {
	mu    sync.Mutex // guards lines
	lines []string
}

const tailLines = 8

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
	t.lines = append(t.lines, line)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "; ")
}

// command returns a command that runs as o, in a process group of its own, and
// gets SIGINT when the thread that starts it ends.
func command(o owner, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...) //nolint:noctx // ended by signals: a killed Postgres has to recover
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C", "LANG=C", "TZ=UTC", "PATH=" + filepath.Dir(program) + ":/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if o.switches {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)} //nolint:gosec // ids of existing users
	}
	return cmd
}

// childrenGrace is how long the children of a server that was killed may take to notice.
const childrenGrace = 5 * time.Second

// spawn starts cmd and waits for it on a thread that lives as long as it does:
// Pdeathsig fires when the thread ends, not the process. Its output goes to log.
// Both goroutines end with the process.
func spawn(cmd *exec.Cmd, log *slog.Logger) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	c := &child{exited: make(chan struct{})}
	read := make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = w.Close()
		if err != nil {
			started <- fmt.Errorf("pgd: start %s: %w", cmd.Path, err)
			return
		}
		c.pid = cmd.Process.Pid
		started <- nil
		c.err = cmd.Wait()
		// The server's own children hold the pipe: when it is closed they are
		// gone too, and another server may start.
		_ = r.SetReadDeadline(time.Now().Add(childrenGrace))
		<-read
		close(c.exited)
	}()
	if err := <-started; err != nil {
		_ = r.Close()
		return nil, err
	}
	go func() {
		defer close(read)
		defer func() { _ = r.Close() }()
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			c.tail.add(lines.Text())
			log.Debug("postgres", slog.String("line", lines.Text()))
		}
		_, _ = io.Copy(io.Discard, r) // after a line that is too long
	}()
	return c, nil
}

// wait returns when the process is gone, or kills it when ctx is done first.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.exited:
	case <-ctx.Done():
		c.signal(syscall.SIGKILL)
		<-c.exited
		return context.Cause(ctx)
	}
	if c.err != nil {
		return fmt.Errorf("%w: %s", c.err, c.tail.String())
	}
	return nil
}

func (c *child) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// signal sends sig to the process unless it has been waited for.
func (c *child) signal(sig syscall.Signal) {
	if !c.gone() {
		_ = syscall.Kill(c.pid, sig) // gone is as good as signalled
	}
}

// stop ends the server: fast, then without its leave, then by force. It
// returns when the process is gone.
func (c *child) stop(ctx context.Context) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, fastStop}, {syscall.SIGQUIT, immediateStop}} {
		c.signal(step.sig)
		timer := time.NewTimer(step.wait)
		select {
		case <-c.exited:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	c.signal(syscall.SIGKILL)
	<-c.exited
	return fmt.Errorf("pgd: Postgres had to be killed; its next start will recover (%w)", errStopTimeout)
}

var errStopTimeout = errors.New("it did not stop in time")

// postmaster reads what a server wrote about itself into its data directory:
// its process id and whether it is ready.
func postmaster(cluster string) (pid int, ready bool) {
	raw, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	lines := strings.Split(string(raw), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return 0, false
	}
	const statusLine = 7 // PostgreSQL 10 and later
	return pid, len(lines) > statusLine && strings.TrimSpace(lines[statusLine]) == "ready"
}
