package release_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// BenchmarkRelease lets out segments to a worker that takes no time: what is
// measured is Postgres, the bus and the loop between them.
func BenchmarkRelease(b *testing.B) {
	for name, c := range map[string]struct{ jobs, segments int }{
		"one book of 3,000 segments": {1, 3000},
		"1,000 texts of a segment":   {1000, 1},
	} {
		b.Run(name, func(b *testing.B) {
			base, line := storetest.New(b), testkit.NATS(b)
			for b.Loop() {
				b.StopTimer()
				for range c.jobs {
					base.Queue(b, storetest.Tenant, job.Spec{}, seconds(c.segments, 8)...)
				}
				r := release.New(release.DefaultConfig(), release.Deps{Store: base.Store, Bus: line, Log: testkit.Log(b), Observe: func(release.Event) {}})
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				b.StartTimer()
				go func() { done <- r.Run(ctx) }()
				drain(b, base, line, r, c.jobs*c.segments)
				cancel()
				require.NoError(b, <-done)
			}
			b.ReportMetric(float64(c.jobs*c.segments*b.N)/b.Elapsed().Seconds(), "segments/s")
		})
	}
}

// drain plays a worker that commits what it fetched in one transaction.
func drain(b *testing.B, base *storetest.Base, line *bus.Bus, r *release.Releaser, n int) {
	b.Helper()
	for done := 0; done < n; {
		got, err := line.FetchWork(b.Context(), storetest.Pool, job.Bulk, 256, 10*time.Second)
		require.NoError(b, err)
		require.NotEmpty(b, got, "%d of %d segments came", done, n)
		var ids []string
		var ns []int
		for _, d := range got {
			ids, ns = append(ids, string(d.Value.JobID)), append(ns, d.Value.N)
		}
		base.Exec(b, `
with finished as (
    update segments s set state = 'done', done_at = now(), audio_samples = 1
    from unnest($1::text[], $2::int[]) as p (job_id, n)
    where s.job_id = p.job_id and s.n = p.n and s.state = 'released' returning s.job_id)
update jobs j set segments_done = segments_done + f.n from (select job_id, count(*)::int as n from finished group by 1) f where j.id = f.job_id`, ids, ns)
		r.Hint()
		var acks sync.WaitGroup
		for _, d := range got {
			acks.Go(func() {
				if err := d.Ack(b.Context()); err != nil {
					b.Error(err)
				}
			})
		}
		acks.Wait()
		done += len(got)
	}
}
