package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/e2e/peers"
)

// submission is a POST of 2 KiB.
func submission() string {
	text := strings.Repeat("The mill turns words into voices, and the night is long. ", 40)
	body := `{"input":{"text":"%s"},"voice":"narrator-en","labels":{"book":"benchmark"}}`
	return fmt.Sprintf(body, text[:2048-len(body)+len("%s")])
}

// plain are the scenarios of requests without TLS.
func (b *bench) plain(ctx context.Context) error {
	return b.requests(ctx, false, []load{
		{name: "status, 256 connections kept alive", conns: 256},
		{name: "status, 256 connections, 16 requests at once", conns: 256, depth: 16, method: http.MethodGet},
		{name: "status, 64 connections, a new one for each request", conns: 64, header: []string{"Connection: close"}},
		{name: "download of 256 KiB, 64 connections kept alive", conns: 64, below: artifact},
		{name: "submit of 2 KiB, 256 connections kept alive", conns: 256, method: http.MethodPost, path: "/v1/jobs", body: submission()},
	})
}

// secure are those with TLS. They take longer, so that the handshakes weigh
// little.
func (b *bench) secure(ctx context.Context) error {
	return b.requests(ctx, true, []load{
		{name: "status, TLS 1.3, 64 connections kept alive", conns: 64, times: 3},
		{name: "status, TLS 1.3, 256 connections kept alive", conns: 256, times: 5},
	})
}

// half is a measurement of half the length; wrk counts whole seconds.
func (b *bench) half() time.Duration { return max(time.Second, (b.length / 2).Round(time.Second)) }

func (b *bench) wanted(name string) bool { return strings.Contains(name, b.only) }

// requests measures each load on every server, the servers in turn.
func (b *bench) requests(ctx context.Context, secure bool, loads []load) error {
	var chosen []load
	for _, l := range loads {
		if b.wanted(l.name) {
			chosen = append(chosen, l)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	servers, stop, err := b.all(ctx, secure)
	defer stop()
	if err != nil {
		return err
	}
	for i := range chosen {
		l := &chosen[i]
		if err := b.check(ctx, l, servers); err != nil {
			b.printf("\n%s: left out, %v\n", l.name, err)
			continue
		}
		results := make([][]figures, len(servers))
		for _, s := range servers {
			if err := b.warm(ctx, l, s); err != nil {
				return err
			}
		}
		if b.prof != "" {
			if err := b.profile(ctx, l, servers[0], i); err != nil {
				return err
			}
		}
		for range b.rounds {
			for n, s := range servers {
				f, err := l.run(ctx, b.dir, s, b.length*time.Duration(max(1, l.times)))
				if err != nil {
					return err
				}
				results[n] = append(results[n], f)
			}
		}
		b.show(l.name, servers, results)
	}
	return nil
}

// check sees to it that everybody answers a download with the same many bytes.
func (b *bench) check(ctx context.Context, l *load, servers []*server) error {
	if l.below != artifact {
		return nil
	}
	for _, s := range servers {
		status, body, err := call(ctx, s, http.MethodGet, s.job+artifact, "")
		if err != nil {
			return err
		}
		if status != http.StatusOK || len(body) != peers.DownloadBytes {
			return fmt.Errorf("%s answers a download with %d and %d bytes", s.name, status, len(body))
		}
	}
	return nil
}

// warm puts a load on a server that is not counted: a virtual machine compiles
// what it has run often, and has the time for it.
func (b *bench) warm(ctx context.Context, l *load, s *server) error {
	const most, enough = 30, 200_000
	served := 0.0
	for n := range most {
		f, err := l.run(ctx, b.dir, s, b.half())
		if err != nil && !errors.Is(err, errNothing) {
			return err
		}
		if served += f.rate * b.half().Seconds(); s.name != netty || served > enough && n > 1 {
			break
		}
	}
	return nil
}

// show prints the medians, and of the CPU time the least, which is nearest to that
// of a machine with nothing else to do. ours/it are the ratios of the two: the first
// is the median of the rounds' ratios, because the speed of a machine that others
// use drifts.
func (b *bench) show(name string, servers []*server, results [][]figures) {
	b.printf("\n%s\n%-10s %12s %8s %8s %8s %12s %10s %10s\n", name, "", "CPU µs/req", "least", "ours/it", "least", "requests/s", "p50 ms", "p99 ms")
	for n, s := range servers {
		f := median(results[n])
		ratio, least := "", ""
		if n > 0 {
			ratio = fmt.Sprintf("%.2f", ratioOf(results[0], results[n]))
			least = fmt.Sprintf("%.2f", float64(leastOf(results[0]))/float64(leastOf(results[n])))
		}
		b.printf("%-10s %12.2f %8.2f %8s %8s %12.0f %10.2f %10.2f\n",
			s.name, micros(f.cpu), micros(leastOf(results[n])), ratio, least, f.rate, millis(f.p50), millis(f.p99))
	}
}

// ratioOf returns the median over the rounds of our CPU time in terms of its.
func ratioOf(our, its []figures) float64 {
	ratios := make([]float64, len(our))
	for i := range our {
		ratios[i] = float64(our[i].cpu) / float64(its[i].cpu)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func leastOf(list []figures) time.Duration {
	return slices.MinFunc(list, func(a, b figures) int { return cmp.Compare(a.cpu, b.cpu) }).cpu
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
