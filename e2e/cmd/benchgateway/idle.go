package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	perHolder   = 6500 // WebSockets of one process that holds them
	openTimeout = 2 * time.Minute
)

// hold opens n WebSockets to s from processes and addresses of their own. group
// keeps the addresses of several servers apart.
func (b *bench) hold(ctx context.Context, s *server, n, group int) (release func() error, err error) {
	var holders []*process
	release = func() error {
		var err error
		for _, p := range holders {
			_ = p.in.Close()
		}
		for _, p := range holders {
			if <-p.done; p.err != nil {
				err = fmt.Errorf("WebSockets of %s: %w", s.name, p.err)
			}
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return release, err
	}
	for left, i := n, 0; left > 0; left, i = left-perHolder, i+1 {
		argv := []string{
			self, holdRole, "-addr", s.addr, "-path", s.live, "-n", strconv.Itoa(min(left, perHolder)),
			"-source", fmt.Sprintf("127.0.%d.%d", 1+group, 1+i), "-tls=" + strconv.FormatBool(s.tls),
		}
		p, err := start("holder", filepath.Join(b.dir, "holder.log"), []string{keyEnv + "=" + s.key}, argv...)
		if err != nil {
			return release, err
		}
		holders = append(holders, p)
	}
	for _, p := range holders {
		if _, err := p.first(ctx, openTimeout); err != nil {
			log, _ := os.ReadFile(filepath.Join(b.dir, "holder.log"))
			return release, fmt.Errorf("open WebSockets to %s: %w\n%s", s.name, err, log)
		}
	}
	return release, nil
}

// webSockets shows the memory of idle WebSockets.
func (b *bench) webSockets(ctx context.Context) error {
	for _, secure := range []bool{false, true} {
		name := fmt.Sprintf("idle WebSockets, %d of one process", b.idle)
		if secure {
			name += ", TLS 1.3"
		}
		if !b.wanted(name) {
			continue
		}
		b.printf("\n%s\n%-10s %12s %8s %14s %14s\n", name, "", "RSS KB each", "ours/it", "RSS before MB", "RSS after MB")
		var first float64
		for _, who := range []string{ours, nethttp, netty} {
			if who == netty && b.netty == "" {
				continue
			}
			before, after, err := b.idleMemory(ctx, who, secure)
			if err != nil {
				return err
			}
			each, ratio := float64(after-before)/float64(b.idle)/1e3, ""
			if who == ours {
				first = each
			} else {
				ratio = fmt.Sprintf("%.2f", first/each)
			}
			b.printf("%-10s %12.2f %8s %14.1f %14.1f\n", who, each, ratio, float64(before)/1e6, float64(after)/1e6)
		}
	}
	return nil
}

// idleMemory returns the memory of a server without and with idle WebSockets.
func (b *bench) idleMemory(ctx context.Context, who string, secure bool) (before, after int64, err error) {
	var s *server
	if who == ours {
		s, err = b.gateway(ctx, secure)
	} else {
		file := filepath.Join(b.dir, "job.json")
		if err := writeFile(file, []byte("{}")); err != nil {
			return 0, 0, err
		}
		s, err = b.peer(ctx, who, secure, true, file)
	}
	if err != nil {
		return 0, 0, err
	}
	defer s.proc.stop()
	release, err := b.hold(ctx, s, min(b.idle, 100), 0) // not counted: what the first connections load
	if err == nil {
		err = release()
	}
	if err != nil {
		return 0, 0, err
	}
	if before, err = settled(ctx, s.pid()); err != nil {
		return 0, 0, err
	}
	release, err = b.hold(ctx, s, b.idle, 0)
	if err == nil {
		after, err = settled(ctx, s.pid())
	}
	if e := release(); err == nil {
		err = e
	}
	return before, after, err
}

// settled returns the memory of a process when it has been the same for a while.
func settled(ctx context.Context, pid int) (int64, error) {
	const (
		pause  = 500 * time.Millisecond
		little = 256 << 10
		within = 15 * time.Second
	)
	last, quiet := int64(0), 0
	for end := time.Now().Add(within); quiet < 4 && time.Now().Before(end); {
		now, err := resident(pid)
		if err != nil {
			return 0, err
		}
		if quiet++; max(now-last, last-now) > little {
			quiet = 0
		}
		last = now
		if !lifecycle.Sleep(ctx, pause) {
			return 0, ctx.Err()
		}
	}
	return last, nil
}

// several shows that requests are as fast beside many idle WebSockets as without.
func (b *bench) several(ctx context.Context) error {
	name := fmt.Sprintf("%d idle WebSockets over several gateways", b.many)
	if !b.wanted(name) {
		return nil
	}
	const processes = 3
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.proc.stop()
		}
	}()
	for range processes {
		s, err := b.gateway(ctx, false)
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	path, _, err := b.job(ctx, servers[0])
	if err != nil {
		return err
	}
	servers[0].job = path
	without, err := b.tail(ctx, servers[0])
	if err != nil {
		return err
	}
	var releases []func() error
	for i, s := range servers {
		release, err := b.hold(ctx, s, b.many/processes, i)
		releases = append(releases, release)
		if err != nil {
			return err
		}
	}
	with, err := b.tail(ctx, servers[0])
	if err != nil {
		return err
	}
	var memory int64
	for _, s := range servers {
		rss, err := resident(s.pid())
		if err != nil {
			return err
		}
		memory += rss
	}
	for _, release := range releases {
		if err := release(); err != nil { // which says how many were lost
			return err
		}
	}
	b.printf("\n%s\n", name)
	b.printf("status with 64 connections, 2000 a second: p99 %.2f ms without them, %.2f ms beside them (%.2f times); %d processes, %.0f MB together, 0 lost\n",
		millis(without), millis(with), float64(with)/float64(without), processes, float64(memory)/1e6)
	return nil
}

// tail returns the p99 of a status, the median of several measurements.
func (b *bench) tail(ctx context.Context, s *server) (time.Duration, error) {
	var list []time.Duration
	for range 2*b.rounds + 1 {
		p99, err := b.paced(ctx, s)
		if err != nil {
			return 0, err
		}
		list = append(list, p99)
	}
	slices.Sort(list)
	return list[len(list)/2], nil
}
