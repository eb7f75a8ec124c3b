// Package services has the real commands of voicemill built and asked what they
// make of the settings that a file of this module gives them.
package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// packages are the commands that users run, by the name of their binary.
var packages = map[string]string{
	"gateway": "./gateway/cmd/gateway", "scheduler": "./scheduler/cmd/scheduler", "worker": "./worker/cmd/worker",
	"voicemill-espeak": "./worker/cmd/voicemill-espeak", "voicemill-neural": "./worker/cmd/voicemill-neural", "voicemill": "./voicemill/cmd/voicemill",
}

// Root returns the folder of the repository, from any folder in it.
func Root() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.work")); missing == nil {
			return dir, nil
		}
	}
	return "", errors.Join(errors.New("this is no folder of the repository"), err)
}

var built = sync.OnceValues(build)

// Build builds every command, static and stripped as `make build` does but
// without the gateway's profile, and returns the folder they are in. What is up
// to date is kept, and only one process builds at a time.
func Build() (string, error) { return built() }

func build() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, ".cache", "deployments", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil { //nolint:gosec // tests run the commands as other users
		return "", fmt.Errorf("make the folder of the commands: %w", err)
	}
	lock, err := os.Create(bin + ".lock")
	if err != nil {
		return "", fmt.Errorf("lock the folder of the commands: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock the folder of the commands: %w", err)
	}
	for name, pkg := range packages {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, name), pkg) //nolint:gosec,noctx // fixed names; it ends by itself
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return bin, nil
}

// Check asks a command whether it takes an environment and arguments, and
// returns the settings that it would run with, as YAML. The environment is all
// that the command sees. A variable it does not know is an error that names it.
func Check(ctx context.Context, command string, env map[string]string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command, append(args, "--print-config")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // ffmpeg and espeak-ng are looked for in it
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s --print-config: %w: %s", filepath.Base(command), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}
