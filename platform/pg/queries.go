package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Queries is a set of named SQL statements. It is read-only once loaded and
// safe for concurrent use.
type Queries struct{ text map[string]string }

// LoadQueries reads every .sql file of dir in fsys. A line "-- name: X" starts
// statement X, which goes to the next such line or the end of the file; text
// before the first one may only be comments. A name that comes twice, or has no
// statement, is an error.
func LoadQueries(fsys fs.FS, dir string) (Queries, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*.sql"))
	if err != nil {
		return Queries{}, fmt.Errorf("list queries in %s: %w", dir, err)
	}
	if len(files) == 0 {
		return Queries{}, fmt.Errorf("no .sql files in %s", dir)
	}
	q := Queries{text: map[string]string{}}
	for _, file := range files {
		raw, err := fs.ReadFile(fsys, file)
		if err != nil {
			return Queries{}, fmt.Errorf("read queries: %w", err)
		}
		if err := q.add(file, string(raw)); err != nil {
			return Queries{}, err
		}
	}
	return q, nil
}

func (q Queries) add(file, raw string) error {
	name := ""
	var body strings.Builder
	flush := func() error {
		text := strings.TrimSpace(body.String())
		body.Reset()
		switch {
		case name == "" && !onlyComments(text):
			return fmt.Errorf("%s: a statement stands before the first \"-- name:\"", file)
		case name == "":
			return nil
		case onlyComments(text):
			return fmt.Errorf("%s: query %s is empty", file, name)
		case q.text[name] != "":
			return fmt.Errorf("%s: query %s is there twice", file, name)
		}
		q.text[name] = strings.TrimSuffix(text, ";")
		return nil
	}
	for line := range strings.Lines(raw) {
		next, ok := strings.CutPrefix(strings.TrimSpace(line), "-- name:")
		if !ok {
			body.WriteString(line)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if name = strings.TrimSpace(next); name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("%s: %q is not a query name", file, name)
		}
	}
	return flush()
}

func onlyComments(text string) bool {
	for line := range strings.Lines(text) {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "--") {
			return false
		}
	}
	return true
}

// Get returns the statement called name. An unknown name is a bug and panics.
func (q Queries) Get(name string) string {
	text, ok := q.text[name]
	if !ok {
		panic("bug: no query is called " + name)
	}
	return text
}

// Names returns the names of all statements, sorted.
func (q Queries) Names() []string { return slices.Sorted(maps.Keys(q.text)) }

// Check prepares every statement against the schema of pool's database and
// returns what the database finds wrong, joined, each with the query's name.
func (q Queries) Check(ctx context.Context, pool *Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return Classify(err)
	}
	defer conn.Release()
	var errs []error
	for _, name := range q.Names() {
		if _, err := conn.Conn().Prepare(ctx, "check_"+name, q.text[name]); err != nil {
			errs = append(errs, fmt.Errorf("query %s: %w", name, err))
			continue
		}
		if err := conn.Conn().Deallocate(ctx, "check_"+name); err != nil {
			errs = append(errs, fmt.Errorf("query %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
