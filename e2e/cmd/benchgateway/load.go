package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// load is what wrk does to a server.
type load struct {
	name   string
	conns  int
	method string
	path   string // default: the job
	below  string // the job's path
	header []string
	body   string
	depth  int // requests that are sent at once
	times  int // measured so many times as long; 0 is 1
}

// figures is what one measurement gave.
type figures struct {
	cpu      time.Duration // of the server, for a request
	rate     float64       // requests a second
	p50, p99 time.Duration
}

func writeFile(name string, data []byte) error {
	return os.WriteFile(name, data, 0o644) //nolint:gosec // not secret
}

// script writes what wrk runs; empty if it needs none.
func (l *load) script(dir string) (string, error) {
	if l.depth == 0 && l.body == "" {
		return "", nil
	}
	text := fmt.Sprintf("wrk.method = %q\n", l.method)
	if l.body != "" {
		text += fmt.Sprintf("wrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[%s]==]\n", l.body)
	}
	if l.depth > 0 {
		text += fmt.Sprintf(`local all
init = function()
  local list = {}
  for i = 1, %d do list[i] = wrk.format() end
  all = table.concat(list)
end
request = function() return all end
`, l.depth)
	}
	name := filepath.Join(dir, "load.lua")
	return name, writeFile(name, []byte(text))
}

// errNothing is in the tree of a measurement in which nothing was answered: on a
// machine with much else to do a program may not run for a second.
var errNothing = errors.New("nothing was answered")

// run puts the load on a server for a time and measures.
func (l *load) run(ctx context.Context, dir string, s *server, length time.Duration) (f figures, err error) {
	for range 5 {
		if f, err = l.once(ctx, dir, s, length); !errors.Is(err, errNothing) {
			return f, err
		}
	}
	return f, err
}

func (l *load) once(ctx context.Context, dir string, s *server, length time.Duration) (f figures, err error) {
	script, err := l.script(dir)
	if err != nil {
		return f, err
	}
	path := l.path
	if path == "" {
		path = s.job + l.below
	}
	argv := []string{"-t1", "-c" + strconv.Itoa(l.conns), "-d" + length.String(), "--latency", "--timeout", "20s", "-H", "Authorization: Bearer " + s.key}
	for _, h := range l.header {
		argv = append(argv, "-H", h)
	}
	if script != "" {
		argv = append(argv, "-s", script)
	}
	before, err := cpu(s.pid())
	if err != nil {
		return f, err
	}
	out, err := exec.CommandContext(ctx, "wrk", append(argv, s.url(path))...).CombinedOutput() //nolint:gosec // the benchmark's own
	if err != nil {
		return f, fmt.Errorf("wrk on %s: %w\n%s", s.name, err, out)
	}
	after, err := cpu(s.pid())
	if err != nil {
		return f, err
	}
	n, f, err := readLoad(string(out))
	if err != nil {
		return f, fmt.Errorf("%s of %s: %w", l.name, s.name, err)
	}
	f.cpu = (after - before) / time.Duration(n)
	return f, nil
}

//nolint:gochecknoglobals // tables
var (
	loadCount  = regexp.MustCompile(`(\d+) requests in`)
	loadRate   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	loadP50    = regexp.MustCompile(`50%\s+([\d.]+[a-z]+)`)
	loadP99    = regexp.MustCompile(`99%\s+([\d.]+[a-z]+)`)
	loadFailed = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors: connect [1-9].*|Socket errors.*timeout [1-9].*)$`)
)

// readLoad reads what wrk printed.
func readLoad(out string) (n int64, f figures, err error) {
	if m := loadFailed.FindString(out); m != "" {
		return 0, f, fmt.Errorf("requests failed: %s", m)
	}
	field := func(re *regexp.Regexp) string {
		m := re.FindStringSubmatch(out)
		if m == nil {
			err = fmt.Errorf("wrk printed\n%s", out)
			return "0"
		}
		return m[1]
	}
	count, rate, p50, p99 := field(loadCount), field(loadRate), field(loadP50), field(loadP99)
	if err != nil {
		return 0, f, err
	}
	n, err = strconv.ParseInt(count, 10, 64)
	if err == nil && n == 0 {
		err = errNothing
	}
	if err != nil {
		return 0, f, err
	}
	f.rate, _ = strconv.ParseFloat(rate, 64)
	f.p50, _ = time.ParseDuration(p50)
	f.p99, _ = time.ParseDuration(p99)
	return n, f, nil
}

// median returns the median of each figure.
func median(list []figures) figures {
	return figures{
		cpu:  middle(list, func(f figures) time.Duration { return f.cpu }),
		rate: middle(list, func(f figures) float64 { return f.rate }),
		p50:  middle(list, func(f figures) time.Duration { return f.p50 }),
		p99:  middle(list, func(f figures) time.Duration { return f.p99 }),
	}
}

func middle[T float64 | time.Duration](list []figures, of func(figures) T) T {
	values := make([]T, len(list))
	for i, f := range list {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
