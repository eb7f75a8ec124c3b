package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// pattern is a body that shows where a byte is missing.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.size-p.at)
	for i := range b[:n] {
		b[i] = byte((p.at + int64(i)) % 251)
	}
	p.at += n
	return int(n), nil
}

// give answers with what r yields, as fast as the peer takes it, and calls done.
func give(ex *edge.Exchange, length int64, r io.Reader, done func()) {
	started := carry(ex, func() {
		defer done()
		ctx := ex.Context()
		s := ex.BeginBody(200, nil, length)
		if s == nil {
			return
		}
		piece := make([]byte, 32<<10)
		for {
			if s.Wait(ctx) != nil {
				s.Abort()
				return
			}
			n, err := r.Read(piece)
			if werr := s.Write(piece[:n]); err == nil {
				err = werr
			}
			switch {
			case errors.Is(err, io.EOF):
				s.End()
				return
			case err != nil:
				s.Abort()
				return
			}
		}
	})
	if !started {
		ex.Respond(text(503, "busy"))
	}
}

func TestStreamedBodiesArriveWhole(t *testing.T) {
	t.Parallel()
	const size = 1_500_000
	var done atomic.Int32
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		length := int64(size)
		if strings.HasPrefix(string(ex.Request().RawPath()), "/unsized") {
			length = http1.UnknownLength
		}
		give(ex, length, &pattern{size: size}, func() { done.Add(1) })
	})
	c := d.dial()
	for _, path := range []string{"/sized", "/unsized"} {
		c.send(strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n", 2))
		for range 2 {
			a, err := c.receive(http.MethodGet)
			want, _ := io.ReadAll(&pattern{size: size})
			if err != nil || a.body != string(want) {
				t.Fatalf("%s: %d bytes, %v; want %d", path, len(a.body), err, size)
			}
		}
	}
	c.send("HEAD /sized HTTP/1.1\r\nHost: h\r\n\r\n")
	if a, err := c.receive(http.MethodHead); err != nil || a.header.Get("Content-Length") != fmt.Sprint(size) {
		t.Errorf("HEAD: %+v, %v", a, err)
	}
	c.send("GET /unsized HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if a, err := c.receive(http.MethodGet); err != nil || len(a.body) != size || !a.close {
		t.Errorf("HTTP/1.0: %d bytes, %t, %v", len(a.body), a.close, err)
	}
	waitFor(t, "every goroutine to be done", func() bool { return done.Load() == 6 && d.Stats().Bodies.Load() == 0 })
}

func TestStreamWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	src := &countingSource{p: pattern{size: size}}
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		give(ex, size, src, func() {})
	})
	c := d.dial()
	_ = c.SetReadBuffer(64 << 10)
	c.send(get)
	var last int64
	still := 0
	waitFor(t, "the source to be left alone", func() bool { // for 50 looks, because nothing announces it
		if n := src.read.Load(); n != last || n == 0 {
			last, still = n, 0
		}
		still++
		return still > 50
	})
	if last > size/2 {
		t.Errorf("%d bytes of %d were taken from the source for a peer that does not read", last, size)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(c.r, size)); n != size || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

type countingSource struct {
	p    pattern
	read atomic.Int64
}

func (s *countingSource) Read(p []byte) (int, error) {
	n, err := s.p.Read(p)
	s.read.Add(int64(n))
	return n, err
}

// reader is a function that is an [io.Reader].
type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

func TestBrokenSourceIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]reader{
		"fails":      func([]byte) (int, error) { return 0, errors.New("broken") },
		"ends early": func(p []byte) (int, error) { return copy(p, "abc"), io.EOF },
		"ends late":  func([]byte) (int, error) { return 20, nil },
		"panics":     func([]byte) (int, error) { panic("on purpose") },
	} {
		for _, length := range []int64{10, http1.UnknownLength} {
			if length < 0 && strings.HasPrefix(name, "ends") {
				continue
			}
			t.Run(fmt.Sprintf("%s with length %d", name, length), func(t *testing.T) {
				t.Parallel()
				c := open(t, edge.Config{}, func(ex *edge.Exchange) { give(ex, length, next, func() {}) }).dial()
				c.send(get)
				if a, err := c.receive(http.MethodGet); err == nil {
					t.Errorf("the client takes %q for the whole", a.body)
				}
			})
		}
	}
}

func TestPushedEventsFlowUntilTheClientLeaves(t *testing.T) {
	t.Parallel()
	streams := make(chan *edge.BodyWriter, 1)
	left := make(chan struct{})
	d := open(t, edge.Config{HalfClose: 50 * time.Millisecond}, func(ex *edge.Exchange) {
		context.AfterFunc(ex.Context(), func() { close(left) })
		streams <- ex.BeginBody(200, []http1.Field{{Name: "Content-Type", Value: "text/event-stream"}}, http1.UnknownLength)
	})
	c := d.dial()
	c.send(get)
	s := <-streams
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for i := range 100 {
		event := fmt.Sprintf("data: %d\n\n", i)
		if err := s.Write([]byte(event)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
			t.Fatalf("got %q, %v; want %q", got, err, event)
		}
	}
	_ = c.Close()
	<-left
	waitFor(t, "writing to fail", func() bool { return errors.Is(s.Write([]byte("x")), net.ErrClosed) })
	if err := s.Wait(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	s.End()
}

func TestSurplusStreamsAreRefused(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{MaxBodies: 1}, func(ex *edge.Exchange) {
		ctx := ex.Context()
		give(ex, http1.UnknownLength, reader(func([]byte) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}), func() {})
	})
	first, second := d.dial(), d.dial()
	first.send(get)
	waitFor(t, "the stream to begin", func() bool { return d.Stats().Bodies.Load() == 1 })
	second.send(get)
	second.want(503, "busy")
}
