package config

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// ErrHelp is returned by [Parse] when the arguments asked for help, which has
// been printed: the command is done and has not failed.
var ErrHelp = errors.New("help was asked for")

// Source is where a command's settings come from and how it speaks of itself.
type Source struct {
	Name        string // of the command
	Description string // one sentence
	Args        []string
	Stdout      io.Writer // help goes here
	Stderr      io.Writer
}

// Parse fills cfg, a pointer to a struct with kong's tags, from the arguments
// and from the environment: the flag --max-conns is also VOICEMILL_MAX_CONNS. A
// flag wins over the environment, which wins over the default in the tag. An
// unknown flag or a value that cannot be read is an error that names it.
func Parse(cfg any, src Source) error {
	helped := false
	parser, err := kong.New(cfg,
		kong.Name(src.Name), kong.Description(src.Description), kong.DefaultEnvars("VOICEMILL"),
		kong.Writers(src.Stdout, src.Stderr), kong.Exit(func(int) { helped = true }),
	)
	if err != nil {
		return fmt.Errorf("describe the settings of %s: %w", src.Name, err)
	}
	_, err = parser.Parse(src.Args)
	if helped {
		return ErrHelp
	}
	if err != nil {
		return fmt.Errorf("%s: %w", src.Name, err)
	}
	return nil
}
