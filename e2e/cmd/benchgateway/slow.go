package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// slowClients shows what clients that dawdle cost the others.
func (b *bench) slowClients(ctx context.Context) error {
	const conns, slow = 256, 13 // 5 %
	name := fmt.Sprintf("status with %d connections beside %d slow clients", conns, slow)
	if !b.wanted(name) {
		return nil
	}
	servers, stop, err := b.all(ctx, false)
	defer stop()
	if err != nil {
		return err
	}
	b.printf("\n%s\n%-10s %16s %16s %8s\n", name, "", "p99 ms without", "p99 ms beside", "ratio")
	l := load{name: name, conns: conns}
	for _, s := range servers {
		var without, beside []figures
		if _, err := l.run(ctx, b.dir, s, b.length); err != nil {
			return err
		}
		for range b.rounds {
			f, err := l.run(ctx, b.dir, s, b.half())
			if err != nil {
				return err
			}
			without = append(without, f)
			dawdling, end := context.WithCancel(ctx)
			var all sync.WaitGroup
			for range slow {
				all.Go(func() { dawdle(dawdling, s) })
			}
			f, err = l.run(ctx, b.dir, s, b.half())
			end()
			all.Wait()
			if err != nil {
				return err
			}
			beside = append(beside, f)
		}
		a, z := median(without), median(beside)
		b.printf("%-10s %16.2f %16.2f %8.2f\n", s.name, millis(a.p99), millis(z.p99), float64(z.p99)/float64(a.p99))
	}
	return nil
}

// dawdle sends one request after the other, a few bytes at a time, and reads the
// answers as slowly.
func dawdle(ctx context.Context, s *server) {
	request := []byte("GET " + s.job + " HTTP/1.1\r\nHost: slow\r\nX-Request-Id: " + rand.Text() + "\r\nAuthorization: Bearer " + s.key + "\r\n\r\n")
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", s.addr) //nolint:noctx // closed with ctx
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		for rest := request; len(rest) > 0 && err == nil; {
			n := min(8, len(rest))
			if _, err = c.Write(rest[:n]); err == nil {
				rest, err = rest[n:], pause(ctx)
			}
		}
		for buf := make([]byte, 16); err == nil; {
			if _, err = io.ReadFull(c, buf); err == nil {
				err = pause(ctx)
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Second)) // the answer is over, or nearly
		}
		stop()
		_ = c.Close()
	}
}

// pause waits a moment.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}
