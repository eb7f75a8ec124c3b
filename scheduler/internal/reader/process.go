package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/job"
)

const (
	lookEvery = 20 * time.Millisecond // at what a child uses; it takes about a gigabyte a second at most
	waitDelay = 2 * time.Second       // for the pipes of a child that was killed
	tailBytes = 4 << 10               // of what it says on standard error
	tick      = 10 * time.Millisecond // of Linux' accounting, on every machine that Go knows
)

// child is a process that reads one document.
type child struct {
	cmd     *exec.Cmd
	input   io.WriteCloser
	output  io.ReadCloser
	stderr  *tail
	exited  chan struct{} // closed when the process was waited for
	watched chan struct{} // closed when the watch has ended

	mu    sync.Mutex
	cause error // why it was killed; guarded by mu
	exit  error // valid once exited is closed
}

// start starts a child that lives until ctx is done, at the longest.
func start(ctx context.Context, program string, cfg Config) (*child, error) {
	c := &child{stderr: &tail{}, exited: make(chan struct{}), watched: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, program, childArgument) //nolint:gosec // this program
	c.cmd.Env = []string{
		fmt.Sprintf("GOMEMLIMIT=%d", cfg.MemoryBytes*3/4), // it collects before it is killed
		"GOMAXPROCS=1", "GOTRACEBACK=single",
	}
	c.cmd.Stderr, c.cmd.WaitDelay = c.stderr, waitDelay
	var err error
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	var childOut *os.File
	if c.output, childOut, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), c.input.Close())
	}
	c.cmd.Stdout = childOut
	err = c.cmd.Start()
	_ = childOut.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), c.input.Close(), c.output.Close())
	}
	go func() { // ends with the process, which close ends
		c.exit = c.cmd.Wait()
		close(c.exited)
	}()
	go c.watch(cfg)
	return c, nil
}

// watch kills a child that takes more than it may.
func (c *child) watch(cfg Config) {
	defer close(c.watched)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-c.exited:
			return
		case <-look.C:
		}
		memory, cpu, err := usage(c.cmd.Process.Pid)
		switch {
		case err != nil: // it has just ended
		case memory > cfg.MemoryBytes:
			c.kill(refused("The document takes more than %d MiB of memory to read.", cfg.MemoryBytes>>20))
		case cpu > cfg.CPU:
			c.kill(tooSlow(cfg.CPU))
		}
	}
}

func tooSlow(cpu time.Duration) error {
	return refused("The document takes more than %s of processor time to read.", cpu)
}

// usage returns the memory and the processor time of a process.
func usage(pid int) (memory int64, cpu time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold anything
	f := strings.Fields(rest)
	const utime, stime, rss = 11, 12, 21 // proc(5), counted from the state
	if len(f) <= rss {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var n [3]int64
	for i, at := range []int{utime, stime, rss} {
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return n[2] * int64(os.Getpagesize()), time.Duration(n[0]+n[1]) * tick, nil
}

// kill ends the process at once; the first cause counts.
func (c *child) kill(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.cmd.Process.Kill() // fails if it has ended
}

// why returns the reason for which a child gave no proper answer.
func (c *child) why(err error) error {
	c.kill(err)
	<-c.exited
	c.mu.Lock()
	defer c.mu.Unlock()
	if refusal, ok := errors.AsType[*job.Error](c.cause); ok {
		return refusal
	}
	failure := errors.Join(c.cause, c.exit)
	_, pipe := errors.AsType[*os.PathError](c.cause)
	if c.signalled() && (errors.Is(c.cause, io.EOF) || pipe) {
		failure = ErrKilled
	}
	return &job.Error{Op: "reader", Kind: job.Internal, Err: fmt.Errorf("the reader of the document failed: %w; it said %q", failure, c.stderr)}
}

// ErrKilled says that somebody killed a child, not for what it took: it says
// nothing of the document.
var ErrKilled = errors.New("it was killed from outside")

func (c *child) signalled() bool {
	s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// close ends the process and returns what went wrong with that.
func (c *child) close() error {
	c.kill(errEnded)
	<-c.exited
	<-c.watched
	_ = c.input.Close() // Wait has closed it
	return c.output.Close()
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-tailBytes):]...)
	t.b = t.b[max(0, len(t.b)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
