package batch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const fewSeeds = 1 // without VOICEMILL_BATCHING_SEEDS

// rules are ours and those of others, as they are set by default or are advised to be.
func rules() []rule {
	return []rule{
		{"FIFO", 0, fifo},
		{"Triton, delay 0", 0, triton(0, 0)},
		{"Triton, preferred 16, delay 100 ms", 0, triton(most, .1)},
		{"Ray Serve, wait 10 ms", 0, ray(.01)},
		{"ours", 1, ours},
	}
}

// spread is a figure of several seeds.
type spread []float64

func (s spread) mean() (m float64) {
	for _, x := range s {
		m += x / float64(len(s))
	}
	return m
}

func (s spread) String() string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.mean(), slices.Min(s), slices.Max(s))
}

// TestBatchesOfLikeLengthAreWorthIt holds the rule against those of others, in virtual
// time. VOICEMILL_BATCHING_SEEDS says how many seeds.
func TestBatchesOfLikeLengthAreWorthIt(t *testing.T) {
	t.Parallel()
	seeds := fewSeeds
	if v := os.Getenv("VOICEMILL_BATCHING_SEEDS"); v != "" {
		var err error
		seeds, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	want := map[string]float64{"stock": 1.15, "padded": 1.8}
	for name, m := range map[string]model{"stock": stock, "padded": padded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			best := backlog(t, name+" engine, a novel", m, novel, seeds)
			require.GreaterOrEqual(t, best.padding.mean(), .65)
			require.GreaterOrEqual(t, best.times.mean(), want[name])
			backlog(t, name+" engine, an anthology", m, anthology, seeds)
			arriving(t, name+" engine, a novel's sentences at random", m, novel, seeds)
		})
	}
}

// figures are those of one rule and feed.
type figures struct{ padding, goodput, times spread }

// backlog prints what every rule makes of books that are all there from the beginning,
// and returns what ours makes of them as they are released.
func backlog(t *testing.T, name string, m model, of sentence, seeds int) (best figures) {
	t.Helper()
	lines := fmt.Sprintf("%s, batches of %d, %d books of %d sentences, %d seeds\n    %-36s %-10s %-18s %-22s %s\n",
		name, most, books, sentences, seeds, "rule", "feed", "padding", "audio s/s", "times FIFO as read")
	feeds := []struct {
		name string
		of   func([][]*text) []*text
	}{{"as read", asRead}, {"released", asReleased}}
	fifos := make([]float64, seeds)
	for i := range fifos {
		fifos[i] = goodput(run(rules()[0], m, asRead(library(of, uint64(i))))) //nolint:gosec // small
	}
	for _, f := range feeds {
		for r, r0 := range rules() {
			var all figures
			for i := range seeds {
				o := run(rules()[r], m, f.of(library(of, uint64(i)))) //nolint:gosec // small
				all.padding, all.goodput, all.times = append(all.padding, o.padding), append(all.goodput, goodput(o)), append(all.times, goodput(o)/fifos[i])
			}
			lines += fmt.Sprintf("    %-36s %-10s %-18s %-22s %s\n", r0.name, f.name, all.padding, all.goodput, all.times)
			best = all
		}
	}
	t.Log(lines)
	return best
}

// goodput is what an engine makes while it works and while it waits.
func goodput(o outcome) float64 { return o.audio / o.elapsed }

// arriving prints the same of sentences that come one by one, at three quarters of what
// FIFO could do: what the engine makes while it works, and how long they wait.
func arriving(t *testing.T, name string, m model, of sentence, seeds int) {
	t.Helper()
	lines := fmt.Sprintf("%s\n    %-36s %-18s %-22s %-20s %s\n", name, "rule", "padding", "audio s/s of work", "seconds p50", "p95")
	for r, r0 := range rules() {
		var padding, work, p50, p95 spread
		for i := range seeds {
			o := run(rules()[r], m, come(asRead(library(of, uint64(i))), m, uint64(i))) //nolint:gosec // small
			slices.Sort(o.waited)
			padding, work = append(padding, o.padding), append(work, o.goodput)
			p50, p95 = append(p50, o.waited[len(o.waited)/2]), append(p95, o.waited[len(o.waited)*95/100])
		}
		lines += fmt.Sprintf("    %-36s %-18s %-22s %-20s %s\n", r0.name, padding, work, p50, p95)
	}
	t.Log(lines)
}

// come lets texts come at random, at three quarters of what FIFO makes of m.
func come(feed []*text, m model, seed uint64) []*text {
	rnd := rand.New(rand.NewPCG(seed, 17))
	o, at := run(rule{"", 0, fifo}, m, feed), 0.0
	every := o.elapsed / float64(len(feed)) / .75
	for _, x := range feed {
		at -= every * math.Log(1-rnd.Float64())
		x.arrives = at
	}
	return feed
}
