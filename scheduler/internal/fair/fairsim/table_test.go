package fairsim_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/fair/fairsim"
)

// BenchmarkTable prints what docs/benchmarks.md says of fair release, for as many
// seeds as the environment says, else for one: `make bench-fair`.
func BenchmarkTable(b *testing.B) {
	seeds := number(b, "VOICEMILL_FAIR_SEEDS", 1)
	w := os.Stdout // the output of a benchmark is cut
	tableShares(w, seeds)
	tableMakespans(w, seeds)
	for _, l := range []struct {
		name string
		load fairsim.Load
	}{
		{"3 continuous engines, saturated, an interactive job every 2 s", fairsim.Load{Engine: fairsim.Continuous(), Backends: 3, Live: 0.5, Books: 1.5}},
		{"3 continuous engines, books for 4/5 of them, an interactive job every 2 s", fairsim.Load{Engine: fairsim.Continuous(), Backends: 3, Live: 0.5, Books: 0.8}},
		{"3 continuous engines, saturated, an interactive job every 20 s", fairsim.Load{Engine: fairsim.Continuous(), Backends: 3, Live: 0.05, Books: 1.5}},
		{"1 continuous engine, saturated, an interactive job every 6 s", fairsim.Load{Engine: fairsim.Continuous(), Backends: 1, Live: 1. / 6, Books: 1.5}},
		{"1 continuous engine, saturated, an interactive job a minute", fairsim.Load{Engine: fairsim.Continuous(), Backends: 1, Live: 1. / 60, Books: 1.5}},
		{"4 static engines, saturated, 4 % interactive", fairsim.Load{Engine: fairsim.Static(), Backends: 4, Live: 0.2, Books: 1.5}},
		{"4 static engines, books for 4/5 of them, 4 % interactive", fairsim.Load{Engine: fairsim.Static(), Backends: 4, Live: 0.2, Books: 0.8}},
	} {
		l.load.Seconds = 1800
		tableLoad(w, l.name, l.load, seeds)
	}
	books := number(b, "VOICEMILL_FAIR_BOOKS", 100)
	_, _ = fmt.Fprintf(w, "\na corpus, 50 tenants, 16 engines\n%-12s %8s %14s %16s %12s\n", "", "books", "hours of audio", "hours of engines", "of the bound")
	for _, e := range []struct {
		name   string
		engine fairsim.Engine
	}{{"continuous", fairsim.Continuous()}, {"static", fairsim.Static()}} {
		ratio, hours, took := fairsim.Corpus(e.engine, 16, books, 1)
		_, _ = fmt.Fprintf(w, "%-12s %8d %14.0f %16.1f %12.4f\n", e.name, books, hours, took/3600, ratio)
	}
}

// number reads a positive number from the environment.
func number(tb testing.TB, name string, fallback int) int {
	tb.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	require.NoError(tb, err, name)
	require.Positive(tb, n, name)
	return n
}

// spread is a figure of all seeds.
type spread struct{ mean, least, most float64 }

func over(seeds int, run func(seed uint64) float64) spread {
	mean, least, most := fairsim.Spread(seeds, run)
	return spread{mean, least, most}
}

func (s spread) String() string { return fmt.Sprintf("%.3f (%.3f–%.3f)", s.mean, s.least, s.most) }

func tableShares(w io.Writer, seeds int) {
	_, _ = fmt.Fprintf(w, "\nwhat one of two tenants gets for each second of the other in 5 min, its segments 4 times as long, 4 continuous engines\n")
	for _, before := range fairsim.Befores {
		for _, policy := range fairsim.Policies {
			_, _ = fmt.Fprintf(w, "%-44s %-12s %s\n", before, policy, over(seeds, func(seed uint64) float64 { return fairsim.Shares(policy, seed, 1, before) }))
		}
		_, _ = fmt.Fprintf(w, "%-44s %-12s %s\n", before, "fair, 3 to 1", over(seeds, func(seed uint64) float64 { return fairsim.Shares("fair", seed, 3, before) }))
	}
}

func tableMakespans(w io.Writer, seeds int) {
	_, _ = fmt.Fprintf(w, "\nmakespan of one job in parts of the bound\n%-12s %8s %9s  %-22s %-22s %-22s %s\n", "engines", "", "segments", "fair, 1 worker", "2 workers", "4 workers", "fifo")
	for _, e := range []struct {
		name   string
		engine fairsim.Engine
	}{{"continuous", fairsim.Continuous()}, {"static", fairsim.Static()}} {
		for _, n := range []int{4, 8} {
			for _, segments := range []int{200, 1000, 2000, 5000} {
				run := func(policy string, workers int) spread {
					return over(seeds, func(seed uint64) float64 { return fairsim.Makespan(policy, e.engine, n, workers, segments, seed) })
				}
				_, _ = fmt.Fprintf(w, "%-12s %8d %9d  %-22s %-22s %-22s %s\n", e.name, n, segments, run("fair", 1), run("fair", 2), run("fair", 4), run("fifo", 1))
			}
		}
	}
}

func tableLoad(w io.Writer, name string, load fairsim.Load, seeds int) {
	_, _ = fmt.Fprintf(w, "\n%s\n%-12s %7s %7s %-24s %9s %10s %7s %9s\n", name, "", "p50 s", "p95 s", "  beyond the idle pool's", "audio s/s", "occupancy", "buffer", "over aim")
	policies := fairsim.Policies
	if load.Engine.Alpha > 0 {
		policies = append([]string{"fair", "one window"}, policies[1:]...)
	}
	for _, policy := range policies {
		var sum fairsim.Mixed
		beyond := over(seeds, func(seed uint64) float64 {
			idle := load
			idle.Books = 0
			m := fairsim.Mix(policy, load, seed)
			sum.P50, sum.P95, sum.Throughput, sum.Occupancy = sum.P50+m.P50, sum.P95+m.P95, sum.Throughput+m.Throughput, sum.Occupancy+m.Occupancy
			sum.Peak, sum.Over = math.Max(sum.Peak, m.Peak), sum.Over+m.Over
			return m.P95 - fairsim.Mix(policy, idle, seed).P95
		})
		n := float64(seeds)
		_, _ = fmt.Fprintf(w, "%-12s %7.2f %7.2f   %-22s %9.1f %10.4f", policy, sum.P50/n, sum.P95/n, beyond, sum.Throughput/n, sum.Occupancy/n)
		if policy == "fair" || policy == "one window" {
			_, _ = fmt.Fprintf(w, " %7.2f %7.3f %%", sum.Peak, 100*sum.Over/n)
		}
		_, _ = fmt.Fprintln(w)
	}
}
