package intake_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

// benchPublisher publishes to the server of a benchmark.
type benchPublisher interface {
	PublishEnvelope(ctx context.Context, envelope []byte) error
}

// BenchmarkDurableAcceptance compares group commit with one publish per job, on
// the same embedded server that syncs every message to the same disk. Each of
// the clients waits for its job to be durable before it sends the next.
func BenchmarkDurableAcceptance(b *testing.B) {
	payloads := jobs(b, 4096)
	for _, clients := range []int{1, 64, 512} {
		var alone float64 // jobs a second without groups
		b.Run(fmt.Sprintf("clients=%d/one-publish-per-job", clients), func(b *testing.B) {
			server := testkit.NATS(b)
			alone = run(b, clients, func(n int) error {
				return server.PublishEnvelope(context.Background(), []byte(`{"jobs":[`+string(payloads[n%len(payloads)])+`]}`))
			})
		})
		for _, inFlight := range []int{1, 2} {
			b.Run(fmt.Sprintf("clients=%d/group-commit-%d-in-flight", clients, inFlight), func(b *testing.B) {
				grouped := group(b, testkit.NATS(b), clients, inFlight, payloads)
				if alone > 0 {
					b.ReportMetric(grouped/alone, "times-one-publish")
				}
			})
		}
	}
}

func group(b *testing.B, server benchPublisher, clients, inFlight int, payloads [][]byte) float64 {
	b.Helper()
	cfg := intake.DefaultConfig()
	cfg.InFlight = inFlight
	var envelopes atomic.Int64
	cfg.Observe = func(intake.Envelope) { envelopes.Add(1) }
	c, err := intake.New(cfg, server)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var committer sync.WaitGroup
	committer.Go(func() { _ = c.Run(ctx) })
	defer committer.Wait()
	defer cancel()
	rate := run(b, clients, func(n int) error {
		done := make(chan error, 1)
		if err := c.Queue(job.ID(fmt.Sprint(n)), payloads[n%len(payloads)], func(err error) { done <- err }); err != nil {
			return err
		}
		return <-done
	})
	b.ReportMetric(float64(b.N)/float64(max(1, envelopes.Load())), "jobs/envelope")
	return rate
}

// run lets clients do b.N jobs and returns how many they did a second.
func run(b *testing.B, clients int, one func(n int) error) float64 {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for range clients {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				if err := one(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	rate := float64(b.N) / time.Since(start).Seconds()
	b.StopTimer()
	b.ReportMetric(rate, "jobs/s")
	return rate
}

// jobs returns n accepted jobs as the gateway marshals them.
func jobs(b *testing.B, n int) [][]byte {
	b.Helper()
	minter, err := job.NewMinter(make([]byte, 32), rand.Reader)
	require.NoError(b, err)
	spec := job.Spec{Input: job.Input{Text: strings.Repeat("The mill turns words into voices. ", 12)}, Voice: "narrator-en", Language: "en"}
	spec.Normalize()
	payloads := make([][]byte, n)
	for i := range payloads {
		id, err := minter.Mint("default", time.Now())
		require.NoError(b, err)
		payloads[i], err = json.Marshal(bus.AcceptedJob{ID: id, Tenant: "default", Spec: spec, AcceptedAt: time.Now()})
		require.NoError(b, err)
	}
	return payloads
}

// BenchmarkOneClient compares, in turn on the same server and disk, a single
// client's job through the committer with one raw acknowledged publish: a lone
// client does not wait for company.
func BenchmarkOneClient(b *testing.B) {
	payloads := jobs(b, 64)
	server := testkit.NATS(b)
	c, err := intake.New(intake.DefaultConfig(), server)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var committer sync.WaitGroup
	committer.Go(func() { _ = c.Run(ctx) })
	defer committer.Wait()
	defer cancel()
	done := make(chan error, 1)
	var raw, grouped []time.Duration
	for n := 0; b.Loop(); n++ {
		payload := payloads[n%len(payloads)]
		start := time.Now()
		require.NoError(b, server.PublishEnvelope(ctx, []byte(`{"jobs":[`+string(payload)+`]}`)))
		between := time.Now()
		require.NoError(b, c.Queue(job.ID(fmt.Sprint(n)), payload, func(err error) { done <- err }))
		require.NoError(b, <-done)
		raw, grouped = append(raw, between.Sub(start)), append(grouped, time.Since(between))
	}
	p50 := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2].Microseconds())
	}
	r, g := p50(raw), p50(grouped)
	b.ReportMetric(r, "raw-p50-µs")
	b.ReportMetric(g, "client-p50-µs")
	b.ReportMetric(g/max(r, 1), "times-raw")
}
