package child

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is from the end of a child's input to its kill, and from its end to
// that of its pipes.
const stopGrace = 500 * time.Millisecond

// Config says what to run.
type Config struct {
	Path string
	Args []string
	Env  []string // all of it
	// Server is set for a program that is not ours and answers elsewhere than on its
	// standard output; nil for one of ours.
	Server *Server
}

// Server is what is different for a program that is not ours. It is asked to end by
// SIGTERM, and what it started itself ends with it.
type Server struct {
	Dir   string        // where it runs; empty: where the parent does
	Says  io.Writer     // gets all that it says on both its outputs, from one goroutine
	Grace time.Duration // from SIGTERM to its kill; 0: 500 ms
}

// Process is a running child. Whoever started it calls Stop. Input and Output
// are for one goroutine at a time; everything else is safe for concurrent use.
type Process struct {
	Input  *os.File // the child's standard input; Stop closes it
	Output *os.File // the child's standard output; Stop closes it; nil for a server
	PID    int

	server *Server // nil for a program of ours
	kill   context.CancelFunc
	said   tail
	exited chan struct{} // closed by the goroutine that waits for the process
	err    error         // how it ended; valid once exited is closed
}

// Start starts a child that lives until Stop or Kill, whatever becomes of ctx,
// which only passes its values on.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	childIn, input, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	p := &Process{Input: input, server: cfg.Server, kill: kill, exited: make(chan struct{})}
	cmd := exec.CommandContext(life, cfg.Path, cfg.Args...) //nolint:gosec // a program of ours, or one that the operator names
	cmd.Stdin, cmd.Stderr = childIn, &p.said
	cmd.Env = cfg.Env
	cmd.SysProcAttr = procAttr()
	cmd.WaitDelay = stopGrace
	if cfg.Server != nil {
		cmd.Dir = cfg.Server.Dir
		cmd.Stderr = io.MultiWriter(&p.said, cfg.Server.Says)
		cmd.Stdout = cmd.Stderr // one pipe for both
		cmd.Cancel = func() error { return killAll(cmd.Process) }
	} else {
		var childOut *os.File
		if p.Output, childOut, err = os.Pipe(); err != nil {
			kill()
			return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), childIn.Close(), input.Close())
		}
		cmd.Stdout = childOut
		defer func() { _ = childOut.Close() }() // the child has its own
	}
	err = cmd.Start()
	_ = childIn.Close()
	if err != nil {
		kill()
		_ = p.Output.Close() // of nil it is an error
		return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Path, err), input.Close())
	}
	p.PID = cmd.Process.Pid
	go func() { // ends with the process, which Stop ends
		p.err = cmd.Wait()
		if p.server != nil {
			_ = killAll(cmd.Process) // what it has left behind
		}
		close(p.exited)
	}()
	return p, nil
}

// Kill ends the process at once. It may be called at any time.
func (p *Process) Kill() { p.kill() }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Alive reports whether the process still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Err returns how the process ended, an *exec.ExitError unless all went well. It
// is valid once Exited is closed.
func (p *Process) Err() error { return p.err }

// Said returns the last that the process said on standard error.
func (p *Process) Said() string { return strings.TrimSpace(p.said.String()) }

// Stop ends the process, politely at first, and returns when it is gone.
func (p *Process) Stop() {
	_ = p.Input.Close() // a child exits at the end of its input
	grace := stopGrace
	if p.server != nil {
		grace = cmp.Or(p.server.Grace, stopGrace)
		_ = terminate(p.PID) // it may be gone
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
	}
	p.kill()
	<-p.exited
	_ = p.Output.Close() // of nil it is an error
}

// ErrExited is wrapped by what [Process.Explain] says of a process that has ended.
var ErrExited = errors.New("helper exited")

// Explain adds to err, of reading from or writing to the process, how that ended,
// if it did, and what it said last. It waits for a process whose pipe has ended.
func (p *Process) Explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		p.kill() // it closed its output, so it is ending or broken
		<-p.exited
		end := p.err
		if end == nil {
			end = io.EOF
		}
		err = fmt.Errorf("%w: %w", ErrExited, end)
	}
	if said := p.Said(); said != "" {
		return fmt.Errorf("%w; it said: %s", err, said)
	}
	return err
}

// tail keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte // guarded by mu
}

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, p[max(0, len(p)-tailBytes):]...)
	t.bytes = t.bytes[max(0, len(t.bytes)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.bytes), "�")
}
