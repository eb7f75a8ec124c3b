package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	pacedConns = 64
	pacedEvery = 32 * time.Millisecond // of one connection: 2000 requests a second of all
	pacedFor   = 3 * time.Second
)

// paced returns the p99 of a status that is asked for at a steady rate, which
// leaves the processors time: what wrk measures, as fast as the server goes, is
// how long a queue of its own making is.
func (b *bench) paced(ctx context.Context, s *server) (time.Duration, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: pacedConns, MaxConnsPerHost: pacedConns}
	defer transport.CloseIdleConnections()
	took := make([][]time.Duration, pacedConns)
	all, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for i := range took {
		all.Go(func() error {
			next := begin.Add(pacedEvery * time.Duration(i) / pacedConns) // not all at once
			for ; next.Sub(begin) < pacedFor; next = next.Add(pacedEvery) {
				if !lifecycle.Sleep(ctx, time.Until(next)) {
					return ctx.Err()
				}
				if err := ask(ctx, transport, s); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(next))
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return 0, err
	}
	list := slices.Concat(took...)
	slices.Sort(list)
	return list[len(list)*99/100], nil
}

// ask requests the status once.
func ask(ctx context.Context, transport *http.Transport, s *server) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+s.job, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status of a job: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
