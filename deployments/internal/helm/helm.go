// Package helm has Helm's own command built, at the version that the chart is
// tested with, and runs it.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/voicemill/voicemill/deployments/internal/services"
)

// version is not in go.mod: Helm's own dependencies would raise those of every module.
const version = "v4.3.2"

// quickly has what is run a few times built sooner: without DWARF and, but for
// the standard library, which is built as `make test` does, without optimizing.
var quickly = []string{"-gcflags=all=-dwarf=false -N -l", "-gcflags=std=-dwarf=false", "-ldflags=-s -w"}

// Command returns the path of the command. It is built once, for all who test
// here, which takes minutes.
func Command(ctx context.Context) (string, error) {
	root, err := services.Root()
	if err != nil {
		return "", err
	}
	tools := filepath.Join(root, ".cache", "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil { //nolint:gosec // as make does
		return "", fmt.Errorf("make the folder of the tools: %w", err)
	}
	path := filepath.Join(tools, "helm-"+version)
	lock, err := os.Create(path + ".lock") //nolint:gosec // our own folder
	if err != nil {
		return "", fmt.Errorf("lock helm: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock helm: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"install"}, quickly...), "helm.sh/helm/v4/cmd/helm@"+version)...) //nolint:gosec // constants
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0", "GOGC=400", "GOBIN="+tools)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build helm: %w\n%s", err, out)
	}
	return path, os.Rename(filepath.Join(tools, "helm"), path)
}

// Run runs helm with values as its only values file and returns what it prints.
func Run(ctx context.Context, values string, args ...string) (string, error) {
	command, err := Command(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, command, append(args, "--values=-")...)
	cmd.Stdin = strings.NewReader(values)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s%s", args[0], err, said.String(), out.String())
	}
	return out.String(), nil
}
