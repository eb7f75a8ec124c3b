package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serverCPU is the processor that servers run on.
const serverCPU = 0

func lookPath(program string) (string, error) { return exec.LookPath(program) }

// setAffinity moves every thread of this process to the processors of set.
func setAffinity(set *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("leave a processor to the servers: %w", err)
		}
	}
	return nil
}

// process is a program that was started.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	line chan string   // what it prints first
	done chan struct{} // closed when it has ended
	err  error         // how; before done is closed
}

// start starts a program that prints a line and logs on its error output, which
// goes to a file.
func start(name, log string, env []string, argv ...string) (*process, error) {
	return startWith(name, log, true, env, argv)
}

// startLogging starts a program that logs on its output.
func startLogging(name, log string, env []string, argv ...string) (*process, error) {
	return startWith(name, log, false, env, argv)
}

func startWith(name, log string, piped bool, env, argv []string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // the benchmark's own; stop ends it
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out io.ReadCloser
	if cmd.Stdout = file; piped {
		cmd.Stdout = nil
		if out, err = cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	}
	p := &process{name: name, cmd: cmd, line: make(chan string, 1), done: make(chan struct{})}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the program
		if piped {
			r := bufio.NewReader(out)
			if line, err := r.ReadString('\n'); err == nil {
				p.line <- strings.TrimSpace(line)
			}
			_, _ = io.Copy(io.Discard, r)
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// first waits for the first line that the program prints.
func (p *process) first(ctx context.Context, within time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case line := <-p.line:
		return line, nil
	case <-p.done:
		return "", fmt.Errorf("%s ended: %w", p.name, p.err)
	case <-ctx.Done():
		return "", fmt.Errorf("%s printed nothing: %w", p.name, ctx.Err())
	}
}

// stop asks the program to end and waits for it.
func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// ticks is how many a second the kernel counts CPU time in, for /proc.
const ticks = 100

// cpu returns the CPU time that a process has used in user and in kernel mode.
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var sum int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("process %d has no memory", pid)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err
}

// freeAddr returns a loopback address that nobody listens on, below the range
// that the kernel gives to outgoing connections.
func freeAddr() (string, error) {
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // binding does not block
		if err != nil {
			continue
		}
		return l.Addr().String(), l.Close()
	}
	return "", errors.New("no port is free")
}
