package stage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	startTimeout = 5 * time.Minute // crash recovery included, and an engine that is heard before it is admitted, on a busy machine
	stopTimeout  = 60 * time.Second
)

// process is one program that can be killed and started again.
type process struct {
	name    string
	command func() *exec.Cmd
	ready   func(ctx context.Context, firstLine <-chan string) error
	logPath string

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// start runs the program and waits until it serves. A program that ends while
// it starts, because something it needs is away, is started again.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := p.startOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !lifecycle.Sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
	}
}

func (p *process) startOnce(ctx context.Context) error {
	cmd := p.command()
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	first, done := make(chan string, 1), make(chan struct{})
	go func() { // ends with the program
		defer close(done)
		defer func() { _ = log.Close() }()
		r := bufio.NewReader(stdout)
		line, err := r.ReadString('\n')
		if err == nil {
			first <- line
		}
		_, _ = io.WriteString(log, line)
		_, _ = io.Copy(log, r)
		_ = cmd.Wait()
	}()
	p.cmd, p.done = cmd, done
	served := make(chan error, 1)
	readyCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { served <- p.ready(readyCtx, first) }()
	select {
	case err := <-served:
		if err != nil {
			p.killLocked()
		}
		return err
	case <-done:
		return fmt.Errorf("%s ended while it started; see %s", p.name, p.logPath)
	}
}

// kill ends the program as a power cut would, if it runs.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

func (p *process) killLocked() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
	p.cmd = nil
}

// stop asks the program to end and waits for it.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		p.cmd = nil
		return nil
	case <-time.After(stopTimeout):
		p.killLocked()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, stopTimeout)
	}
}

// pid returns the program's process id; 0 if it does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// signal sends a signal to the program.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	return p.cmd.Process.Signal(sig)
}
