package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/embed/pgd"
)

// Solo is one `voicemill up`: everything in one process and one data directory.
// Start, Kill and Stop must not overlap; the rest is safe for concurrent use.
type Solo struct {
	Data string // the data directory

	bin  string
	key  string
	proc *process

	mu      sync.Mutex // guards running
	running running
}

// running is what `voicemill up --json` prints once it serves.
type running struct {
	URL   string
	Admin string
	Took  time.Duration
}

// SoloConfig says how a Solo differs from the default.
type SoloConfig struct {
	Data string   // an existing folder that everybody may pass; default: a new one
	Args []string // of `voicemill up`, after ours
	Wrap []string // a command that runs `voicemill up …`, such as env
	Env  []string // in addition
}

// NewSolo starts a Solo and ends it with the test. The test's failure leaves
// the log in its output.
func NewSolo(t *testing.T, bin string, cfg SoloConfig) *Solo {
	t.Helper()
	s := PrepareSolo(t, bin, cfg)
	require.NoError(t, s.Start(t.Context()))
	return s
}

// PrepareSolo is NewSolo without the start.
func PrepareSolo(t *testing.T, bin string, cfg SoloConfig) *Solo {
	t.Helper()
	dir := Dir(t)
	if cfg.Data == "" {
		cfg.Data = filepath.Join(dir, "data")
	}
	args := append([]string{
		"up", "--json", "--data", cfg.Data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--s3-listen", "127.0.0.1:0", "--log-level", "info", "--no-access-log",
		"--shed-bulk=" + patience, "--shed-interactive=" + patience, "--publish-timeout=" + patience,
	}, cfg.Args...)
	argv := append(append([]string{}, cfg.Wrap...), append([]string{filepath.Join(bin, "voicemill")}, args...)...)
	s := &Solo{Data: cfg.Data, bin: bin}
	s.proc = &process{
		name: "voicemill up", logPath: filepath.Join(dir, "log"),
		command: func() *exec.Cmd {
			cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // built by Build; the test ends it
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, cfg.Env...)
			return cmd
		},
		ready: func(ctx context.Context, first <-chan string) error {
			var r running
			if err := readLine(ctx, first, &r); err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.running = r
			return nil
		},
	}
	t.Cleanup(func() {
		if err := s.proc.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log := s.Log()
			t.Logf("log of voicemill up, last 8 KiB:\n%s", log[max(0, len(log)-8192):])
		}
	})
	return s
}

// Dir makes a folder that every user may pass, as Postgres's must, with a path
// short enough for a socket. It is removed with the test.
func Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm-") //nolint:usetesting // t.TempDir is private and its path is long
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // Postgres runs as another user
	return dir
}

// Start starts the process once and waits until it takes jobs. The addresses
// may be others than before.
func (s *Solo) Start(ctx context.Context) error {
	s.proc.mu.Lock()
	defer s.proc.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.proc.startOnce(ctx); err != nil {
		return err
	}
	if err := awaitOK(ctx, s.Admin()+"/readyz"); err != nil { // on a slow machine it serves before it has voices
		return err
	}
	key, err := os.ReadFile(s.KeyFile())
	s.key = strings.TrimSpace(string(key))
	return err
}

// URL returns the address of the API.
func (s *Solo) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running.URL
}

// Admin returns the address of the admin port.
func (s *Solo) Admin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running.Admin
}

// Took returns how long the last start took by its own account.
func (s *Solo) Took() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running.Took
}

// Key returns the first API key.
func (s *Solo) Key() string { return s.key }

// KeyFile returns where the first API key is kept.
func (s *Solo) KeyFile() string { return filepath.Join(s.Data, "first-key") }

// DSN returns the connection string of the private Postgres, which must have been started once.
func (s *Solo) DSN() (string, error) { return pgd.DSN(filepath.Join(s.Data, "postgres")) }

// Log returns everything that was logged so far.
func (s *Solo) Log() string {
	b, _ := os.ReadFile(s.proc.logPath) // none yet is as good as empty
	return string(b)
}

// PID returns the id of the process, which must run.
func (s *Solo) PID() int {
	s.proc.mu.Lock()
	defer s.proc.mu.Unlock()
	return s.proc.cmd.Process.Pid
}

// Kill ends the process as kill -9 does.
func (s *Solo) Kill() { s.proc.kill() }

// Stop sends sig and waits for the end. It returns the exit code.
func (s *Solo) Stop(sig syscall.Signal) (code int, err error) {
	s.proc.mu.Lock()
	defer s.proc.mu.Unlock()
	if s.proc.cmd == nil {
		return 0, errors.New("it does not run")
	}
	if err := s.proc.cmd.Process.Signal(sig); err != nil {
		return 0, fmt.Errorf("signal voicemill up: %w", err)
	}
	return s.awaitEnd()
}

// Wait waits for the process to end by itself and returns the exit code.
func (s *Solo) Wait() (code int, err error) {
	s.proc.mu.Lock()
	defer s.proc.mu.Unlock()
	return s.awaitEnd()
}

func (s *Solo) awaitEnd() (code int, err error) {
	select {
	case <-s.proc.done:
		code = s.proc.cmd.ProcessState.ExitCode()
		s.proc.cmd = nil
		return code, nil
	case <-time.After(stopTimeout):
		return 0, fmt.Errorf("voicemill up did not end within %s", stopTimeout)
	}
}

// Command runs a client command, such as submit, against s. code is its exit code.
func (s *Solo) Command(ctx context.Context, args ...string) (code int, stdout, stderr string, err error) {
	return Run(ctx, filepath.Join(s.bin, "voicemill"), []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "VOICEMILL_URL=" + s.URL(), "VOICEMILL_KEY=" + s.Key(),
	}, args...)
}

// Run runs a program to its end.
func Run(ctx context.Context, program string, env []string, args ...string) (code int, stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the test names it
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String(), nil
	}
	return 0, out.String(), errs.String(), err
}

// readLine waits for the line of JSON that a program prints when it serves.
func readLine(ctx context.Context, first <-chan string, into any) error {
	select {
	case line := <-first:
		if err := json.Unmarshal([]byte(line), into); err != nil {
			return fmt.Errorf("read the address in %q: %w", line, err)
		}
		return nil
	case <-ctx.Done():
		return errors.New("it printed no address in time")
	}
}
