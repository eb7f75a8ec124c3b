// Command enginesim is a speech engine that is simulated: see package enginesim. When it
// is ready it prints one line of JSON with the addresses of its two protocols, and it
// ends with SIGTERM or when its standard input is closed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/voicemill/voicemill/e2e/enginesim"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "enginesim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg := enginesim.DefaultConfig()
	cfg.Crash = func() { os.Exit(70) }
	web := flag.String("http", "127.0.0.1:0", "address of POST /v1/audio/speech")
	rpc := flag.String("grpc", "127.0.0.1:0", "address of KServe v2")
	cost := flag.String("cost", "instant", "instant, l20, l20-static, l20-padded, h200, degrading, static:A,B,C,D or continuous:N=goodput,…")
	faults := flag.String("faults", "{}", `such as {"rates": {"hang": 0.01}, "oom_above": 8, "leak_kb": 100}`)
	flag.StringVar(&cfg.Dialect, "dialect", cfg.Dialect, "generic, vllm-omni or sglang-omni")
	flag.Float64Var(&cfg.Speedup, "speedup", cfg.Speedup, "so many times as fast as the cost says")
	flag.IntVar(&cfg.Rate, "rate", cfg.Rate, "samples a second")
	flag.Float64Var(&cfg.CPS, "cps", cfg.CPS, "characters a second")
	flag.Float64Var(&cfg.Noise, "noise", cfg.Noise, "sigma of the logarithm of a text's length")
	flag.Float64Var(&cfg.Runaways, "runaways", cfg.Runaways, "share of texts that do not find their end")
	flag.IntVar(&cfg.MaxTokens, "max-tokens", cfg.MaxTokens, "tokens after which a text is cut, 25 a second")
	flag.IntVar(&cfg.Batch, "batch", cfg.Batch, "most texts together")
	flag.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of chance")
	stdin := flag.Bool("stdin", false, "end when standard input is closed")
	flag.Parse()
	var err error
	if cfg.Cost, err = enginesim.ParseCost(*cost); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(*faults), &cfg.Faults); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	sim, err := enginesim.New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *stdin {
		go func() { // ends with the process
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	return serve(ctx, sim, *web, *rpc)
}

func serve(ctx context.Context, sim *enginesim.Sim, web, rpc string) error {
	var l net.ListenConfig
	a, err := l.Listen(ctx, "tcp", web)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	b, err := l.Listen(ctx, "tcp", rpc)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), a.Close())
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"http": a.Addr().String(), "grpc": b.Addr().String()}); err != nil {
		return fmt.Errorf("say the addresses: %w", err)
	}
	return sim.Serve(ctx, a, b)
}
