// Command benchgateway holds the gateway against servers that do the same work on
// net/http, fasthttp and Netty: the real binary with its database, bus and bucket,
// keys, limits, metrics and access log, and the peers with the same key check,
// counters and log, on one processor, with the load on another.
//
// It prints the CPU time of the server for a request first, because that holds on
// a machine that others use, and then what a clock shows. Servers take turns and
// every figure is the median of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchgateway:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// bench is one run.
type bench struct {
	out    io.Writer
	log    *slog.Logger
	bin    string // folder with the built commands
	netty  string // folder with the built peer on Netty; empty leaves it out
	dir    string // for everything that is written
	only   string // part of the names of the scenarios to run
	prof   string // folder for CPU profiles of the gateway; empty makes none
	quick  bool
	rounds int
	length time.Duration // of one measurement
	idle   int           // WebSockets of one server process
	many   int           // WebSockets of several

	back *backing
	cert string
	key  string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == holdRole {
		return hold(ctx, args[1:], os.Stdin, out)
	}
	b := &bench{out: out, log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	flags := flag.NewFlagSet("benchgateway", flag.ContinueOnError)
	flags.StringVar(&b.bin, "bin", "bin", "folder with the built commands")
	flags.StringVar(&b.netty, "netty", "e2e/peers/netty/target", "folder with the built peer on Netty; empty leaves it out")
	flags.StringVar(&b.only, "only", "", "part of the name of the only scenarios to run")
	flags.StringVar(&b.prof, "profile", "", "folder for CPU profiles of the gateway, one for each scenario of requests; others are left out")
	flags.BoolVar(&b.quick, "quick", false, "shorter rounds, fewer connections")
	flags.IntVar(&b.idle, "idle", 19_000, "idle WebSockets of one process; it may open 20,000 files")
	rounds := flags.Int("rounds", 0, "measurements of each server; 0 is the default of the length of the run")
	flags.IntVar(&b.many, "many", 50_000, "idle WebSockets of several processes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b.rounds, b.length = 7, 2*time.Second
	if b.quick {
		b.rounds, b.length, b.idle, b.many = 3, time.Second, min(b.idle, 2000), min(b.many, 6000)
	}
	if *rounds > 0 {
		b.rounds = *rounds
	}
	return b.run(ctx)
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "benchgateway-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := os.Chmod(b.dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user
		return err
	}
	if err := b.ready(); err != nil {
		return err
	}
	if b.back, err = b.startBacking(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.back.stop()) }()
	b.describe()
	parts := []func(context.Context) error{b.binary, b.plain, b.secure, b.webSockets, b.several, b.slowClients}
	if b.prof != "" {
		parts = []func(context.Context) error{b.plain, b.secure}
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ready looks for what the run needs and leaves the first processor to the
// servers. What this process starts inherits the rest.
func (b *bench) ready() error {
	for _, file := range []string{filepath.Join(b.bin, "gateway"), filepath.Join(b.bin, "peer-nethttp"), filepath.Join(b.bin, "peer-fasthttp")} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w; run make bench-gateway", err)
		}
	}
	for _, program := range []string{"wrk", "taskset"} {
		if _, err := lookPath(program); err != nil {
			return fmt.Errorf("%w; run scripts/setup bench", err)
		}
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("ask for processors: %w", err)
	}
	if set.Count() < 2 || !set.IsSet(serverCPU) {
		return fmt.Errorf("there are %d processors; one for the servers and one for the load are needed", set.Count())
	}
	set.Clear(serverCPU)
	return setAffinity(&set)
}

func (b *bench) printf(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format, args...) }
