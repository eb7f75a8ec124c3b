package onebox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Box is one process of `voicemill up`.
type Box struct {
	URL     string // of the API
	Key     string // an administrator's
	KeyFile string
	Dir     string // removed with the box
	PID     int

	cmd *exec.Cmd
}

// Run starts a box with the commands in bin and flags of `voicemill up` besides ours,
// calls use when it takes jobs, and ends it. ctx ends it, too, without mercy.
func Run(ctx context.Context, bin string, use func(*Box) error, flags ...string) (err error) {
	dir, err := os.MkdirTemp("", "onebox-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user
		return err
	}
	b := &Box{Dir: dir}
	if err := b.start(ctx, bin, flags); err != nil {
		return fmt.Errorf("start voicemill up: %w", err)
	}
	return errors.Join(use(b), b.stop())
}

func (b *Box) start(ctx context.Context, bin string, flags []string) error {
	b.cmd = exec.CommandContext(ctx, filepath.Join(bin, "voicemill"), append([]string{"up", "--json", "--data", filepath.Join(b.Dir, "data"), //nolint:gosec // built by make
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--no-access-log"}, flags...)...)
	b.cmd.Stderr = os.Stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	if err := b.await(bufio.NewReader(out)); err != nil {
		return errors.Join(err, b.stop())
	}
	return nil
}

// await reads what the process says when it takes jobs.
func (b *Box) await(out *bufio.Reader) error {
	line, err := out.ReadBytes('\n')
	if err != nil {
		return err
	}
	var at struct{ URL, KeyFile string }
	if err := json.Unmarshal(line, &at); err != nil {
		return err
	}
	key, err := os.ReadFile(at.KeyFile)
	if err != nil {
		return err
	}
	b.URL, b.KeyFile, b.Key, b.PID = at.URL, at.KeyFile, strings.TrimSpace(string(key)), b.cmd.Process.Pid
	return nil
}

func (b *Box) stop() error {
	_ = b.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself, which Wait tells
	return b.cmd.Wait()
}
