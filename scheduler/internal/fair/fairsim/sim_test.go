package fairsim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/fair/fairsim"
)

const seeds = 20

func TestEqualTenantsGetEqualCostWhateverTheLengthOfTheirSegments(t *testing.T) {
	t.Parallel()
	shares := func(policy string, weight float64, before string, seeds int) (least, most float64) {
		mean, least, most := fairsim.Spread(seeds, func(seed uint64) float64 { return fairsim.Shares(policy, seed, weight, before) })
		t.Logf("%s, %s, weights %v to 1: %.3f (%.3f to %.3f)", policy, before, weight, mean, least, most)
		return least, most
	}
	for _, before := range fairsim.Befores {
		least, most := shares("fair", 1, before, seeds)
		require.InDelta(t, 1, least, 0.02, before)
		require.InDelta(t, 1, most, 0.02, before)
	}
	least, most := shares("fair", 3, fairsim.FromTheStart, seeds)
	require.InDelta(t, 3, least, 0.06)
	require.InDelta(t, 3, most, 0.06)
	least, _ = shares("round robin", 1, fairsim.FromTheStart, 2)
	require.Greater(t, least, 3.5, "the trace shows what is unfair")
}

// live is 20 interactive tenants on three engines that are full of books; alone is without the books.
var live = fairsim.Load{Engine: fairsim.Continuous(), Backends: 3, Live: 0.5, Books: 1.5, Seconds: 600}

func TestInteractiveWorkHardlyWaitsForBulkOnContinuousEngines(t *testing.T) {
	t.Parallel()
	alone := live
	alone.Books = 0
	var occupancy, over, peak, throughput, all float64
	mean, least, most := fairsim.Spread(seeds, func(seed uint64) float64 {
		loaded := fairsim.Mix("fair", live, seed)
		occupancy += loaded.Occupancy / seeds
		over += loaded.Over / seeds
		peak = max(peak, loaded.Peak)
		throughput += loaded.Throughput
		return loaded.P95 - fairsim.Mix("fair", alone, seed).P95
	})
	for seed := range uint64(5) {
		all += seeds / 5 * fairsim.Mix("fifo", live, seed+1).Throughput
	}
	t.Logf("p95 longer by %.2f s (%.2f to %.2f), occupancy %.4f, buffer over 1 s for %.3f %% of the time, %.2f s at most, throughput %.3f of first come",
		mean, least, most, occupancy, 100*over, peak, throughput/all)
	require.LessOrEqual(t, most, 2.5)
	require.GreaterOrEqual(t, occupancy, 0.99)
	require.Less(t, over, 0.001)
	require.Greater(t, throughput/all, 0.86, "what the smaller window costs")
}

func TestInteractiveWorkOvertakesOnStaticEnginesWithoutLoss(t *testing.T) {
	t.Parallel()
	load := fairsim.Load{Engine: fairsim.Static(), Backends: 4, Live: 0.2, Books: 0.8, Seconds: 900}
	mean, least, most := fairsim.Spread(seeds, func(seed uint64) float64 {
		return fairsim.Mix("fifo", load, seed).P95 / fairsim.Mix("fair", load, seed).P95
	})
	load.Books, load.Seconds = 1.5, 300
	var occupancy, over float64
	gain, lowest, _ := fairsim.Spread(seeds, func(seed uint64) float64 {
		fair := fairsim.Mix("fair", load, seed)
		occupancy += fair.Occupancy / seeds
		over = max(over, fair.Over)
		return fair.Throughput / fairsim.Mix("fifo", load, seed).Throughput
	})
	t.Logf("p95 lower by %.1f (%.1f to %.1f) with 4/5 load; saturated: throughput %.3f of first come (least %.3f), occupancy %.4f", mean, least, most, gain, lowest, occupancy)
	require.GreaterOrEqual(t, least, 3.0)
	require.GreaterOrEqual(t, lowest, 1.0)
	require.GreaterOrEqual(t, occupancy, 0.99)
	require.Zero(t, over, "more than two calls a backend are out")
}

func TestTheMakespanIsNearTheBound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 8} {
		for name, engine := range map[string]fairsim.Engine{"continuous": fairsim.Continuous(), "static": fairsim.Static()} {
			mean, least, most := fairsim.Spread(seeds, func(seed uint64) float64 { return fairsim.Makespan("fair", engine, n, 1, 1000, seed) })
			t.Logf("%d %s engines: %.3f (%.3f to %.3f) of the bound", n, name, mean, least, most)
			require.LessOrEqual(t, mean, 1.06, "%d %s engines", n, name)
		}
		mean, least, most := fairsim.Spread(seeds, func(seed uint64) float64 { return fairsim.Makespan("fair", fairsim.Continuous(), n, 4, 1000, seed) })
		t.Logf("%d continuous engines of four workers: %.3f (%.3f to %.3f) of the bound", n, mean, least, most)
		require.LessOrEqual(t, mean, 1.06, "a worker takes what another could begin")
	}
}

func TestACorpusTakesHardlyLongerThanItMust(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]fairsim.Engine{"continuous": fairsim.Continuous(), "static": fairsim.Static()} {
		ratio, hours, _ := fairsim.Corpus(engine, 8, 10, 1)
		t.Logf("%s: %.0f hours of audio, %.4f of the least time", name, hours, ratio)
		require.LessOrEqual(t, ratio, 1.06)
	}
}
