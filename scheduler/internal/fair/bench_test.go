package fair_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

// BenchmarkTurn is a turn from Next to Done with 10 segments a job waiting.
func BenchmarkTurn(b *testing.B) {
	for _, c := range []struct{ tenants, jobs int }{{10, 1000}, {1000, 1000}, {1000, 100_000}, {1, 100_000}} {
		b.Run(fmt.Sprintf("tenants=%d/jobs=%d", c.tenants, c.jobs), func(b *testing.B) {
			core := crowd(c.tenants, c.jobs)
			core.Report(engine("en", 64, 1000))
			n := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				turn, ok := core.Next(start)
				if !ok {
					b.Fatal("nothing goes")
				}
				n++
				key := fair.Key{Job: turn.Job, N: n}
				core.Released(turn.N, key, turn.Limit, fair.Work{})
				core.Done(key, turn.Limit.Segments, turn.Limit.Cost)
				core.Add(book(string(turn.Job), string(turn.Tenant), 10, 5))
			}
		})
	}
}

// BenchmarkDrop takes jobs of one tenant out and puts them back.
func BenchmarkDrop(b *testing.B) {
	core := crowd(1, 100_000)
	n := 0
	for b.Loop() {
		id := fmt.Sprintf("job%d", n%100_000)
		core.Remove(job.ID(id))
		core.Add(book(id, "t0", 10, 5))
		n++
	}
}

func crowd(tenants, jobs int) *fair.Core {
	core := fair.New(fair.DefaultConfig())
	for n := range jobs {
		core.Add(book(fmt.Sprintf("job%d", n), fmt.Sprintf("t%d", n%tenants), 10, 5))
	}
	return core
}

func TestChoosingDoesNotSlowDownWithTenantsAndJobs(t *testing.T) {
	// 44 ms a choice at 1,000 tenants was what the order of release took before:
	// the line is far below that and far above what a busy machine takes.
	core := crowd(1000, 100_000)
	core.Report(engine("en", 64, 1000))
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			turn, ok := core.Next(start)
			if !ok {
				b.Fatal("nothing goes")
			}
			core.Declined(turn.N)
		}
	})
	require.Less(t, result.NsPerOp(), int64(200_000), "%s", result)
	t.Log(result, result.MemString())
}
