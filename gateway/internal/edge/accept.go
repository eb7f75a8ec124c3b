package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

const (
	maxRefusals    = 64                   // connections being told at once that there is no room
	refusalLife    = time.Second          // how long telling one may take
	refusalBytes   = 16 << 10             // of its input that are read meanwhile
	firstBackOff   = 5 * time.Millisecond // after a failure to accept, doubling
	longestBackOff = 500 * time.Millisecond
)

// acceptor takes connections from the listener and puts them on event loops. It
// is one goroutine; those that tell surplus connections to come back later are
// bounded by refusals.
type acceptor struct {
	srv      *Server
	refusals chan struct{}
	refusing sync.WaitGroup
	backOff  time.Duration
	allowed  float64 // connections that the accept rate lets in now
	counted  time.Time
}

// run accepts until the listener is closed, which the caller does when ctx is
// done. Failures to accept are waited out: running out of descriptors ends when
// connections do.
func (a *acceptor) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = a.srv.ln.Close() })
	defer stop()
	for {
		if !a.permit(ctx) {
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
		a.backOff = 0
		if tcp, ok := nc.(*net.TCPConn); ok { // always, because New checked the listener
			a.admit(ctx, tcp)
		}
	}
}

// permit waits until the accept rate allows another connection. It reports
// false when ctx is done.
func (a *acceptor) permit(ctx context.Context) bool {
	rate := float64(a.srv.cfg.AcceptRate)
	if rate == 0 {
		return ctx.Err() == nil
	}
	now := time.Now()
	if a.counted.IsZero() {
		a.allowed = rate
	} else {
		a.allowed = min(rate, a.allowed+rate*now.Sub(a.counted).Seconds())
	}
	a.counted = now
	if a.allowed < 1 {
		return pause(ctx, time.Duration((1-a.allowed)/rate*float64(time.Second))) && a.permit(ctx)
	}
	a.allowed--
	return true
}

// failed reports a failure and waits a while, longer each time.
func (a *acceptor) failed(ctx context.Context, doing string, err error) {
	a.srv.stats.AcceptErrs.Add(1)
	if a.backOff == 0 {
		a.srv.log.LogAttrs(ctx, slog.LevelWarn, "waiting before accepting connections again",
			slog.String("doing", doing), slog.Any("error", err))
	}
	a.backOff = min(max(2*a.backOff, firstBackOff), longestBackOff)
	pause(ctx, a.backOff)
}

// pause waits for d and reports whether ctx is still good.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// admit puts nc on an event loop, or turns it away.
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
	_, err := s.client.EnrollContext(nc, c)
	if err == nil && !c.isOpen {
		err = errors.New("the event loop refused it")
	}
	if err != nil {
		s.left()
		a.failed(ctx, "enrol a connection", err)
	}
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
