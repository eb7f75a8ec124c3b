package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Console is what one run of the command talks through. Only its own goroutine
// writes; it is not safe for concurrent use.
type Console struct {
	In      io.Reader
	Out     io.Writer // results
	Err     io.Writer // everything else: hints, warnings, errors
	JSON    bool      // whether results are machine-readable
	Version string
	Getenv  func(string) string
	Environ []string // name=value, for the commands that serve
}

// Printf writes one or more lines of a result; the caller ends them. An error
// of writing, such as a reader that went away, is for the caller to return.
func (c *Console) Printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(c.Out, format, args...); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// Hintf writes a line for people. Programs that asked for JSON do not get it.
func (c *Console) Hintf(format string, args ...any) {
	if !c.JSON {
		_, _ = fmt.Fprintf(c.Err, format+"\n", args...)
	}
}

// Document writes v as one line of JSON.
func (c *Console) Document(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// OutScreen returns a screen on Out, or nil if nobody watches it there.
func (c *Console) OutScreen() *Screen { return c.screen(c.Out) }

// ErrScreen returns a screen on Err, or nil if nobody watches it there. It is
// for progress beside a result.
func (c *Console) ErrScreen() *Screen { return c.screen(c.Err) }

func (c *Console) screen(w io.Writer) *Screen {
	f, ok := w.(*os.File)
	if c.JSON || !ok || !term.IsTerminal(int(f.Fd())) || c.Getenv("TERM") == "dumb" {
		return nil
	}
	return NewScreen(f, func() (int, int) {
		cols, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || cols < 1 || rows < 1 {
			return 80, 24 // what terminals without a size have always been
		}
		return cols, rows
	})
}
