package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// Run reads args, runs the command they name and returns the exit code of the
// process. Everything that there is to say has been written to con by then.
func Run(ctx context.Context, args []string, con *console.Console) int {
	var g Grammar
	exited := false // kong goes on after --help and --version
	parser, err := kong.New(&g,
		kong.Name("voicemill"),
		kong.Description(description),
		kong.Vars{"default_url": defaultURL, "version": "voicemill " + con.Version},
		kong.Writers(con.Out, con.Err),
		kong.Exit(func(int) { exited = true }),
		kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(con),
		kong.BindToProvider(func() (*Session, error) { return newSession(&g.Globals, con) }),
		kong.Bind(&g.Models),
	)
	if err != nil {
		panic("bug: the grammar of the command line: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited {
		return ExitDone
	}
	con.JSON = g.JSON
	if err != nil {
		return usage(con, err)
	}
	err = parsed.Run()
	report(con, err, g.address(con))
	return exitCode(err)
}

// usage tells what is wrong with the command line.
func usage(con *console.Console, err error) int {
	command := "voicemill"
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil && p.Context.Selected() != nil {
		command = "voicemill " + p.Context.Selected().Path()
	}
	_, _ = fmt.Fprintf(con.Err, "voicemill: %s.\nSee `%s --help`.\n", err, strings.TrimSpace(command))
	return ExitUsage
}

func help(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return fmt.Errorf("print the help: %w", err)
	}
	if ctx.Selected() == nil {
		if _, err := fmt.Fprint(ctx.Stdout, epilogue); err != nil {
			return fmt.Errorf("print the help: %w", err)
		}
	}
	return nil
}

// address returns the server's address: the flag, else the environment, else
// the address that `voicemill up` listens on.
func (g *Globals) address(con *console.Console) string {
	for _, url := range []string{g.URL, con.Getenv("VOICEMILL_URL")} {
		if url != "" {
			return strings.TrimRight(url, "/")
		}
	}
	return defaultURL
}

const maxKeyFile = 4 << 10

// key returns the API key: what --key-file holds, else the environment.
func (g *Globals) key(con *console.Console) (string, error) {
	if g.KeyFile == "" {
		return con.Getenv("VOICEMILL_KEY"), nil
	}
	info, err := os.Stat(g.KeyFile)
	if err != nil {
		return "", usagef("read --key-file: %w", err)
	}
	if info.Size() > maxKeyFile {
		return "", usagef("--key-file %s has %d bytes; a key has 29", g.KeyFile, info.Size())
	}
	b, err := os.ReadFile(g.KeyFile)
	if err != nil {
		return "", usagef("read --key-file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
