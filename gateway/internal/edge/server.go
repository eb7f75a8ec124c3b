package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// ErrGraceSpent is the cause with which the contexts of exchanges end that
// outlive the grace period.
var ErrGraceSpent = errors.New("the server stopped before the request was answered")

// Stats counts what happened. Its fields are read with Load at any time.
type Stats struct {
	Open             atomic.Int64  // connections
	Accepted         atomic.Uint64 // connections
	Requests         atomic.Uint64 // complete requests that reached the handler
	Refused          atomic.Uint64 // requests that could not be read
	Late             atomic.Uint64 // of these, not in time
	Unanswered       atomic.Uint64 // requests that the handler did not answer in time
	Panics           atomic.Uint64
	Bodies           atomic.Int64  // bodies under way, see [Exchange.Carry]
	ShedBodies       atomic.Uint64 // of these, refused because there were too many
	Handshakes       atomic.Int64  // TLS handshakes under way
	ShedHandshakes   atomic.Uint64 // connections closed because there were too many, new ones or those that waited longest
	FailedHandshakes atomic.Uint64
	BadProxy         atomic.Uint64 // connections of load balancers that did not begin as they must
	ShedConns        atomic.Uint64 // connections refused because there were too many
	AcceptErrs       atomic.Uint64 // failures to accept, such as no descriptor being left
	CutStalled       atomic.Uint64 // connections closed because their peer did not read
	Departed         atomic.Uint64 // times that a body arrived faster than it was read, so that its connection left its event loop
	HeldBack         atomic.Uint64 // times that requests came faster than their connection's turns, so that it left its event loop
	HalfClosed       atomic.Uint64 // connections kept for answers after their peer shut its sending side
	CutBacklog       atomic.Uint64 // connections closed because their peer did not stop sending
	LoopLag          Lag           // of event loops
	Buffered         atomic.Int64  // bytes that connections hold: partial and waiting requests, output that waits for others or was not taken
	ShedMemory       atomic.Uint64 // connections ended because too much was buffered
	BytesIn          atomic.Uint64
	BytesOut         atomic.Uint64
}

// Server is the front door. It is used once: New, then Run.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	ln      net.Listener

	loops       []*loop
	watcher     *watcher
	buffers     buffers
	handshakers tasks // one for every TLS handshake under way
	handshakes  handshakes
	moves       tasks // one for every connection that comes back to an event loop
	rings       rings
	readsEarly  func(*http1.Request) bool // whether a body is read while it arrives; nil if none is
	certs       *certificates             // nil without TLS
	date        http1.Date
	started     time.Time
	stats       Stats

	base     context.Context //nolint:containedctx // the life of the server, parent of every exchange's context
	kill     context.CancelCauseFunc
	draining atomic.Bool
	drainCh  chan struct{}
	empty    lifecycle.Signal // told when a connection ends while draining
}

// New binds the address and returns a server that h serves requests of. log
// gets what an operator should know. Close frees the address if Run is never
// called.
func New(cfg Config, h Handler, log *slog.Logger) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	s := &Server{
		cfg: cfg, handler: h, log: log, ln: cfg.Listener, started: time.Now(),
		drainCh: make(chan struct{}), empty: lifecycle.NewSignal(),
	}
	if b, ok := h.(EarlyReader); ok {
		s.readsEarly = b.ReadsEarly
	}
	if cfg.TLS != nil {
		protocols := []string{"http/1.1"}
		if cfg.Frames != nil {
			protocols = append(protocols, framesProtocol)
		}
		var err error
		if s.certs, err = newCertificates(*cfg.TLS, protocols); err != nil {
			return nil, fmt.Errorf("edge: tls: %w", err)
		}
	}
	if s.ln == nil {
		ln, err := Listen(context.Background(), cfg.Listen) //nolint:forbidigo // binding does not block
		if err != nil {
			return nil, fmt.Errorf("edge: listen on %s: %w", cfg.Listen, err)
		}
		s.ln = ln
	}
	if _, ok := s.ln.(*net.TCPListener); !ok {
		_ = s.ln.Close()
		return nil, fmt.Errorf("edge: listener is a %T; want a *net.TCPListener", s.ln)
	}
	return s, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Draining returns a channel that is closed when the server begins to drain.
func (s *Server) Draining() <-chan struct{} { return s.drainCh }

// Close frees the address of a server that was never run.
func (s *Server) Close() error { return s.ln.Close() }

// Run serves until ctx is done, then drains: it accepts no more, closes idle
// connections, lets every request in flight be answered with "Connection: close"
// and, after the grace period, cuts what is left. It returns nil after that, and
// an error if the server could not start or lost its listener.
func (s *Server) Run(ctx context.Context) error {
	s.base, s.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.kill(nil)
	defer func() { _ = s.ln.Close() }()
	w, err := newWatcher()
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	s.watcher = w
	defer w.close()
	defer s.stopLoops()
	for range s.cfg.Loops {
		l, err := s.startLoop()
		if err != nil {
			return fmt.Errorf("edge: start an event loop: %w", err)
		}
		s.loops = append(s.loops, l)
	}
	return s.serve(ctx)
}

// serve runs the goroutines beside the loops and waits for all of them.
func (s *Server) serve(ctx context.Context) error {
	var beside, accepting sync.WaitGroup
	defer beside.Wait()
	defer s.watcher.end()
	beside.Go(func() {
		if err := s.watcher.run(); err != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "watcher of full sockets failed", slog.Any("error", err))
		}
	})
	ticking, stopTicks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTicks()
	beside.Go(func() { s.tick(ticking) })
	if s.certs != nil {
		beside.Go(func() { s.certs.watch(ticking, s.log) })
	}

	a := newAcceptor(s)
	lost := make(chan error, 1)
	accepting.Go(func() { lost <- a.run(ctx) })
	s.log.LogAttrs(ctx, slog.LevelInfo, "listening", slog.String("address", s.Addr().String()), slog.Int("loops", len(s.loops)))

	var err error
	select {
	case <-ctx.Done():
	case err = <-lost:
	}
	_ = s.ln.Close()
	accepting.Wait()
	s.drain()
	a.wait()
	s.kill(ErrGraceSpent)
	s.handshakers.close()
	s.moves.close()
	return err
}

// tick drives the timer wheels.
func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(s.cfg.Tick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.date.At(now)
			if n%lagTicks == 0 {
				s.stats.LoopLag.turn()
			}
			for _, l := range s.loops {
				l.tick(now)
			}
		}
	}
}

// drain waits for every connection to end, for the grace period at most.
func (s *Server) drain() {
	s.draining.Store(true)
	close(s.drainCh)
	for _, l := range s.loops {
		l.wake()
	}
	grace := time.NewTimer(s.cfg.Grace)
	defer grace.Stop()
	for s.stats.Open.Load() > 0 {
		select {
		case <-s.empty:
		case <-grace.C:
			s.log.LogAttrs(s.base, slog.LevelWarn, "connections cut at the end of the grace period",
				slog.Int64("connections", s.stats.Open.Load()), slog.Duration("grace", s.cfg.Grace))
			s.kill(ErrGraceSpent)
			return
		}
	}
}

// left takes one connection off the count.
func (s *Server) left() {
	s.stats.Open.Add(-1)
	s.empty.Raise()
}

// stopLoops ends the event loops, which closes every connection they have, and
// then those that live on descriptors of their own.
func (s *Server) stopLoops() {
	for _, l := range s.loops {
		if err := l.client.Stop(); err != nil {
			s.log.LogAttrs(s.base, slog.LevelError, "an event loop ended with an error", slog.Any("error", err))
		}
		for l.conns.next != &l.conns {
			l.conns.next.end()
		}
		_ = l.bell.Close()
	}
}
