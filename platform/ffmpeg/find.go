package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const probeTimeout = 10 * time.Second

var errProbeTimeout = errors.New("ffmpeg did not answer in time")

// Program is an ffmpeg that answered. It is safe for concurrent use.
type Program struct {
	Path     string
	Build    string // what it says of its version, its libraries and how it was built
	encoders map[string]bool
}

// Find looks for ffmpeg, by its path or by its name in PATH, and asks it what it
// can encode. The error wraps [exec.ErrNotFound] if there is none.
func Find(ctx context.Context, name string) (*Program, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("find ffmpeg: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, errProbeTimeout)
	defer cancel()
	var build strings.Builder
	ask := command(ctx, path, "-encoders")
	ask.Stderr = &build
	list, err := ask.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its encoders: %w", path, errors.Join(err, context.Cause(ctx)))
	}
	return &Program{Path: path, Build: build.String(), encoders: encoders(list)}, nil
}

// encoders reads ffmpeg's list, a line each: flags, name, description.
func encoders(list []byte) map[string]bool {
	names := map[string]bool{}
	for line := range bytes.Lines(list) {
		if fields := strings.Fields(string(line)); len(fields) > 1 {
			names[fields[1]] = true
		}
	}
	return names
}

// Encodes reports whether the program has an encoder, by ffmpeg's name for it.
func (p *Program) Encodes(encoder string) bool { return p.encoders[encoder] }

// prober is the ffprobe that came with the program.
func (p *Program) prober() string { return filepath.Join(filepath.Dir(p.Path), "ffprobe") }

func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the operator's own program
	cmd.SysProcAttr, cmd.WaitDelay = procAttr(), time.Second
	return cmd
}
