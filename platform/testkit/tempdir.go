package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// tempDir is a folder that goes away with this process even when it is killed:
// a shell waits at the other end of a pipe and removes the folder when the pipe
// breaks. The folder may be entered, but not listed, by other users, since
// Postgres runs as one of them when the tests run as root.
type tempDir struct {
	path string
	pipe *os.File
	wait func() error
}

// cleaner waits for the pipe to break, then for a Postgres in the folder to be gone.
const cleaner = `read -r _; i=0
while [ -e "$1/pg/cluster/postmaster.pid" ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
rm -rf -- "$1"`

func newTempDir(kind string) (*tempDir, error) {
	path, err := os.MkdirTemp("", "vmtest-"+kind+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the tests: %w", err)
	}
	if err := os.Chmod(path, 0o711); err != nil { //nolint:gosec // see tempDir
		return nil, fmt.Errorf("open the tests' folder: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	cmd := exec.Command("sh", "-c", cleaner, "sh", path) //nolint:noctx // it ends with the pipe
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		return nil, errors.Join(err, w.Close(), os.RemoveAll(path))
	}
	return &tempDir{path: path, pipe: w, wait: cmd.Wait}, nil
}

// remove removes the folder now.
func (d *tempDir) remove() {
	_ = d.pipe.Close()
	_ = d.wait()
}
