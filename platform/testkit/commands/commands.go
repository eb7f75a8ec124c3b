// Package commands builds the commands that tests run. It owns the folder of a
// checkout in which they are kept.
package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"syscall"
)

// ours is the module path that the commands of voicemill begin with.
const ours = "github.com/voicemill/voicemill/"

// All returns the import paths of the commands that users run.
func All() []string {
	return []string{
		ours + "gateway/cmd/gateway", ours + "scheduler/cmd/scheduler", ours + "worker/cmd/worker", ours + "voicemill/cmd/voicemill",
		Espeak, Neural,
	}
}

// The helpers of the worker.
const (
	Espeak = ours + "worker/cmd/voicemill-espeak"
	Neural = ours + "worker/cmd/voicemill-neural"
)

// Build builds packages, see [Kept], and puts each into dir, which is made, by its name.
func Build(ctx context.Context, dir string, packages ...string) error {
	built, err := Kept(ctx, packages...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // some tests run the commands as another user
		return fmt.Errorf("make the folder of the commands: %w", err)
	}
	for _, p := range packages {
		name := path.Base(p)
		if major.MatchString(name) {
			name = path.Base(path.Dir(p))
		}
		if err := place(filepath.Join(built, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("take %s: %w", name, err)
		}
	}
	return nil
}

// Kept builds packages, which are import paths, static, and returns the folder they are
// in. The tests of many packages need the same commands, and to link one takes seconds:
// the folder is one for the checkout, what is up to date in it is kept, and one process
// builds at a time.
func Kept(ctx context.Context, packages ...string) (dir string, err error) {
	dir, err = folder()
	if err != nil {
		return "", err
	}
	lock, err := os.Create(dir + ".lock") //nolint:gosec // our own folder
	if err != nil {
		return "", fmt.Errorf("lock the folder of the commands: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock the folder of the commands: %w", err)
	}
	build := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + "/"}, packages...)...) //nolint:gosec // what a test names
	// A compiler spends up to a sixth of its time on garbage that it need not collect.
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOGC=400")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	return dir, nil
}

// folder is where built commands are kept, in the checkout that a test runs in.
func folder() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.work")); missing == nil {
			built := filepath.Join(dir, ".cache", "commands")
			return built, os.MkdirAll(built, 0o755) //nolint:gosec // some tests run the commands as another user
		}
	}
	return "", errors.Join(errors.New("this is no folder of a checkout"), err)
}

// major is the last element of a module of a later major version, which names nothing.
var major = regexp.MustCompile(`^v[0-9]+$`)

// place makes a file known by another name, as a copy where file systems differ.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // the test's folder
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
