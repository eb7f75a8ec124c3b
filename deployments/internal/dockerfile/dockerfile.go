// Package dockerfile reads Dockerfiles with buildkit's own parser.
package dockerfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Image is what a Dockerfile makes: what its last stage says.
type Image struct {
	Name       string   // of the file
	Bases      []string // of every stage, with the defaults of their arguments
	Build      string   // the stages before the last
	Labels     map[string]string
	Env        map[string]string
	User       string
	Entrypoint []string
	Cmd        []string
	Health     []string
	Ports      []string
	Runs       []string
	Copies     []Copy
}

// Copy is one COPY.
type Copy struct {
	From    string // a stage; empty: the context
	Sources []string
	Dest    string
}

// Read parses a Dockerfile. What buildkit would warn of is an error.
func Read(path string) (Image, error) {
	im := Image{Name: strings.TrimSuffix(filepath.Base(path), ".Dockerfile"), Labels: map[string]string{}, Env: map[string]string{}}
	f, err := os.Open(path)
	if err != nil {
		return im, fmt.Errorf("read a Dockerfile: %w", err)
	}
	defer func() { _ = f.Close() }()
	parsed, err := parser.Parse(f)
	if err != nil {
		return im, fmt.Errorf("%s: %w", path, err)
	}
	if len(parsed.Warnings) > 0 {
		return im, fmt.Errorf("%s: %s", path, parsed.Warnings[0].Short)
	}
	stages, arguments, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return im, fmt.Errorf("%s: %w", path, err)
	}
	var defaults []string
	for _, a := range arguments {
		for _, pair := range a.Args {
			if pair.Value == nil {
				return im, fmt.Errorf("%s: %s has no default", path, pair.Key)
			}
			defaults = append(defaults, pair.Key+"="+*pair.Value)
		}
	}
	for i, s := range stages {
		base, _, err := shell.NewLex('\\').ProcessWord(s.BaseName, shell.EnvsFromSlice(defaults))
		if err != nil {
			return im, fmt.Errorf("%s: %w", path, err)
		}
		im.Bases = append(im.Bases, base)
		if i < len(stages)-1 {
			im.Build += s.SourceCode + "\n" + fmt.Sprintln(s.Commands)
			continue
		}
		for _, c := range s.Commands {
			if err := im.add(c); err != nil {
				return im, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return im, nil
}

func (im *Image) add(command instructions.Command) error {
	switch c := command.(type) {
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			im.Labels[l.Key] = l.Value
		}
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			im.Env[e.Key] = e.Value
		}
	case *instructions.RunCommand:
		if !c.PrependShell {
			return fmt.Errorf("RUN %v is no line for the shell", c.CmdLine)
		}
		im.Runs = append(im.Runs, strings.Join(c.CmdLine, " "))
	case *instructions.CopyCommand:
		im.Copies = append(im.Copies, Copy{c.From, c.SourcePaths, c.DestPath})
	case *instructions.UserCommand:
		im.User = c.User
	case *instructions.EntrypointCommand:
		im.Entrypoint = c.CmdLine
		return list("ENTRYPOINT", c.PrependShell)
	case *instructions.CmdCommand:
		im.Cmd = c.CmdLine
		return list("CMD", c.PrependShell)
	case *instructions.ExposeCommand:
		im.Ports = append(im.Ports, c.Ports...)
	case *instructions.HealthCheckCommand:
		im.Health = c.Health.Test[1:]
		return list("HEALTHCHECK", c.Health.Test[0] != "CMD")
	case *instructions.ArgCommand, *instructions.VolumeCommand:
	default:
		return fmt.Errorf("%s is not expected in an image", command.Name())
	}
	return nil
}

// list refuses a line for the shell, which would get the signals that are meant
// for the program.
func list(instruction string, shell bool) error {
	if shell {
		return fmt.Errorf("%s is no list", instruction)
	}
	return nil
}
