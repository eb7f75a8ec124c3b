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

	"github.com/voicemill/voicemill/platform/testkit/commands"
)

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

// Build builds every command and returns the folder they are in.
func Build() (string, error) { return built() }

// built asks once in a process: whether a command is up to date takes a while to say.
var built = sync.OnceValues(func() (string, error) { return commands.Kept(context.Background(), commands.All()...) })

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
