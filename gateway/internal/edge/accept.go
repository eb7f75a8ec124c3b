package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	maxRefusals    = 64                   // connections being told at once that there is no room
	refusalLife    = time.Second          // how long telling one may take
	refusalBytes   = 16 << 10             // of its input that are read meanwhile
	acceptPause    = 5 * time.Millisecond // at least, once the accept rate is used up: to wake for each connection costs more than it does
	firstBackOff   = 5 * time.Millisecond // after a failure to accept, doubling
	longestBackOff = 500 * time.Millisecond
)

// acceptor takes connections from the listener and has them put on event loops. It
// is one goroutine; beside it there is one for each busy loop that is given a
// connection, which that takes late, and for each surplus connection that is told to
// come back later, which refusals bounds.
type acceptor struct {
	srv       *Server
	free      chan *loop // that no connection is on its way to; room for all
	enrolling sync.WaitGroup
	refusals  chan struct{}
	refusing  sync.WaitGroup
	backOff   atomic.Int64  // how long the last failure was waited out; 0 since a connection was enrolled
	rate      *limit.Bucket // of connections that are let in; nil for no limit
}

func newAcceptor(s *Server) *acceptor {
	a := &acceptor{srv: s, free: make(chan *loop, len(s.loops)), refusals: make(chan struct{}, maxRefusals)}
	if n := int64(s.cfg.AcceptRate); n > 0 {
		a.rate = limit.NewBucket(limit.Rate{Count: n, Per: time.Second, Burst: n})
	}
	for _, l := range s.loops {
		a.free <- l
	}
	return a
}

// run accepts until the listener is closed, which the caller does when ctx is
// done. Failures to accept are waited out: running out of descriptors ends when
// connections do. It returns when every connection that was let in is on its loop.
func (a *acceptor) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = a.srv.ln.Close() })
	defer stop()
	defer a.enrolling.Wait()
	for {
		if !a.permit(ctx) || !a.room(ctx) {
			return nil
		}
		nc, err := a.srv.ln.Accept()
		switch {
		case ctx.Err() != nil:
			if tcp, ok := nc.(*net.TCPConn); ok && err == nil { // its client has been let in
				a.admit(ctx, tcp)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			a.failed(ctx, "accept a connection", err)
			continue
		}
		if tcp, ok := nc.(*net.TCPConn); ok { // always, because New checked the listener
			a.admit(ctx, tcp)
		}
	}
}

// permit waits until the accept rate allows another connection. It reports
// false when ctx is done.
func (a *acceptor) permit(ctx context.Context) bool {
	for a.rate != nil {
		wait := a.rate.Take(time.Now())
		if wait == 0 {
			break
		}
		if !lifecycle.Sleep(ctx, max(wait, acceptPause)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// room waits until a loop is free. It reports false when ctx is done.
func (a *acceptor) room(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case l := <-a.free:
		a.free <- l
		return true
	}
}

// pick takes the loop with the fewest connections of those that are free. There is
// one, because nobody else takes any.
func (a *acceptor) pick() *loop {
	l := <-a.free
	for range len(a.free) {
		other := <-a.free
		if other.open.Load() < l.open.Load() {
			l, other = other, l
		}
		a.free <- other
	}
	return l
}

// failed reports a failure and waits a while, longer each time. It is safe on any
// goroutine.
func (a *acceptor) failed(ctx context.Context, doing string, err error) {
	a.srv.stats.AcceptErrs.Add(1)
	last := time.Duration(a.backOff.Load())
	if last == 0 {
		a.srv.log.LogAttrs(ctx, slog.LevelWarn, "waiting before accepting connections again",
			slog.String("doing", doing), slog.Any("error", err))
	}
	next := min(max(2*last, firstBackOff), longestBackOff)
	a.backOff.Store(int64(next))
	lifecycle.Sleep(ctx, next)
}

// admit has nc put on an event loop, or turns it away. A loop must be free.
func (a *acceptor) admit(ctx context.Context, nc *net.TCPConn) {
	s := a.srv
	s.stats.Accepted.Add(1)
	if s.stats.Open.Add(1) > int64(s.cfg.MaxConns) {
		s.left()
		s.stats.ShedConns.Add(1)
		a.turnAway(nc)
		return
	}
	c := &conn{srv: s, replies: replies{buffers: &s.buffers}}
	if remote, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = remote.AddrPort()
	}
	withoutZone(nc)
	l := a.pick()
	if !l.busy.Load() { // one that begins something long in this moment holds up the next connection, once
		a.enrol(ctx, l, nc, c)
		return
	}
	a.enrolling.Go(func() { a.enrol(ctx, l, nc, c) })
}

// enrol has l take a connection, and waits until it has.
func (a *acceptor) enrol(ctx context.Context, l *loop, nc *net.TCPConn, c *conn) {
	defer func() { a.free <- l }()
	if err := l.enrol(nc, c); err != nil {
		a.srv.left()
		a.failed(ctx, "enrol a connection", err)
		return
	}
	a.backOff.Store(0)
}

// turnAway answers 503 and closes, or closes only where the answer would have to be
// encrypted. What the client sends meanwhile is read for a
// moment, because closing with unread input would destroy the answer.
func (a *acceptor) turnAway(nc *net.TCPConn) {
	var from netip.AddrPort
	if remote, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		from = remote.AddrPort()
	}
	if tls := a.srv.cfg.TLS; tls != nil && tls.Only {
		_ = nc.Close()
		return
	}
	select {
	case a.refusals <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	a.refusing.Go(func() {
		defer func() { <-a.refusals }()
		defer func() { _ = nc.Close() }()
		s := a.srv
		now := time.Now()
		r := s.cfg.Refusal(Refused{Remote: from, Status: 503, Public: "The server has no room for another connection."})
		r.Header = append(r.Header, http1.Field{Name: "Retry-After", Value: "1"})
		out := http1.AppendResponse(nil, &r, http1.Encoding{Date: s.date.At(now), Minor: 1, Close: true})
		_ = nc.SetDeadline(now.Add(refusalLife))
		if _, err := nc.Write(out); err == nil && nc.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, nc, refusalBytes)
		}
	})
}

// wait returns when no connection is being turned away any more.
func (a *acceptor) wait() { a.refusing.Wait() }
