// Command checkbooks compares, word by word, what voicemill would speak of
// each EPUB below a folder with what pandoc reads from it, and prints a row a
// book. It exits with 1 if a book has less than 99.9 % of its words in place,
// with 2 if it cannot compare at all.
//
// The comparison is independent: pandoc's tree is walked here, the package
// document is read here, and the few reading rules of docs/manuscript.md that
// concern pandoc's text are written here a second time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// required is the least part of a book's words that must be in place.
const required = 0.999

// The exit codes.
const (
	exitGood = iota
	exitDiffers
	exitUnable
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	flags := flag.NewFlagSet("checkbooks", flag.ContinueOnError)
	verbose := flags.Bool("v", false, "print the passages that differ")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(flags.Output(), "usage: checkbooks [-v] DIR|FILE...")
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		return exitUnable
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return exitUnable
	}
	if _, err := exec.LookPath("pandoc"); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "checkbooks: pandoc is missing; install it with: sudo apt-get install pandoc")
		return exitUnable
	}
	books, err := findBooks(flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "checkbooks:", err)
		return exitUnable
	}
	return check(ctx, os.Stdout, books, *verbose)
}

// findBooks returns the EPUBs among paths and below them.
func findBooks(paths []string) ([]string, error) {
	var books []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && strings.EqualFold(filepath.Ext(name), ".epub") {
				books = append(books, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(books) == 0 {
		return nil, fmt.Errorf("no *.epub below %s", strings.Join(paths, ", "))
	}
	return books, nil
}

// check prints a row for each book and returns the exit code.
func check(ctx context.Context, out io.Writer, books []string, verbose bool) int {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "book\twords\tmissing\textra\tmoved\tin place\t")
	code := exitGood
	var details strings.Builder
	for _, name := range books {
		c, err := compareBook(ctx, name)
		title := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		if err != nil {
			_, _ = fmt.Fprintf(table, "%s\t–\t–\t–\t–\t–\t\n", title)
			_, _ = fmt.Fprintf(&details, "\n%s: %v\n", name, err)
			code = exitDiffers
			continue
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.3f %%\t\n", title, c.words, c.missing, c.extra, c.moved, 100*c.inPlace())
		if c.inPlace() < required {
			code = exitDiffers
		}
		if verbose {
			c.describe(&details, name)
		}
	}
	_ = table.Flush()
	_, _ = io.WriteString(out, details.String())
	return code
}

// compareBook compares one book.
func compareBook(ctx context.Context, name string) (*comparison, error) {
	reference, err := readReference(ctx, name)
	if err != nil {
		return nil, err
	}
	spoken, err := readSpoken(ctx, name)
	if err != nil {
		return nil, err
	}
	return compare(words(reference), words(spoken)), nil
}

// readSpoken returns the text of all segments in order.
func readSpoken(ctx context.Context, name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // reading
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	doc, err := manuscript.Open(ctx, file, info.Size(), manuscript.TypeEPUB, manuscript.Options{})
	if err != nil {
		return "", errors.New(job.PublicOf(err, err.Error()))
	}
	defer doc.Close() //nolint:errcheck // never fails
	var text strings.Builder
	for chapter, err := range doc.Chapters() {
		if err != nil {
			return "", errors.New(job.PublicOf(err, err.Error()))
		}
		for _, s := range chapter.Segments {
			text.WriteString(s.Text)
			text.WriteByte('\n')
		}
	}
	return text.String(), nil
}
