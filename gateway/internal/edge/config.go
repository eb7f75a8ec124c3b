package edge

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// Config says where a [Server] listens and what it tolerates. Zero fields get
// the documented defaults.
type Config struct {
	Listen   string       // TCP address; used if Listener is nil
	Listener net.Listener // an inherited TCP listener; the server closes it

	Loops       int // event loops; default one per core
	MaxConns    int // open connections; above it new ones get 503; default 20000
	AcceptRate  int // new connections a second, the rest waits in the kernel's queue; 0 is no limit
	MaxBodies   int // bodies under way at once, see [Exchange.Carry]; default 1024
	WriteRate   int // bytes a second that a peer with output waiting must take in each WriteWindow; default 1024
	BodyRate    int // bytes a second that a streamed body must bring once BodyTimeout has passed; default 8192
	MaxInFlight int // requests of one connection that await their answers; default 32

	Limits      http1.Limits // of one request; default [http1.DefaultLimits]
	MaxBacklog  int          // unparsed input of one connection, bytes; default 256 KiB
	MaxBuffered int          // bytes that all connections may hold together, above a small share each; default 256 MiB
	MaxOutbound int          // output of one connection that its peer has not taken, or that waits for earlier answers, bytes; above it no request is read; default 1 MiB

	// ProxyFrom are the load balancers whose connections must begin with a header
	// of the PROXY protocol, version 1 or 2, which names the client.
	ProxyFrom []netip.Prefix

	TLS           *TLS // nil speaks no TLS
	MaxHandshakes int  // TLS handshakes under way; default 1024

	HandshakeTimeout time.Duration // of TLS, from the whole ClientHello on; default 10 s
	HandshakeStall   time.Duration // for which a handshake may wait for its client while others need its place; default 1 s
	HeadTimeout      time.Duration // from the first byte of a request, or of a TLS ClientHello, to the end of its head; default 10 s
	BodyTimeout      time.Duration // from the end of the head to the end of the body; default 60 s
	BodyStall        time.Duration // without a byte of a streamed body for which there is room; default 20 s
	IdleTimeout      time.Duration // between two requests; default 75 s
	AnswerTimeout    time.Duration // from the end of a request to its answer, which is then 503; default 120 s
	WriteStall       time.Duration // without a byte taken by a peer that has output waiting; default 20 s
	WriteWindow      time.Duration // over which the rate of such a peer is taken; default 60 s
	LingerTimeout    time.Duration // of discarding input after the last answer; default 2 s
	HalfClose        time.Duration // for answers to a client that shut its sending side; default 5 s
	DrainIdle        time.Duration // for which an idle connection may still send a request while draining; default 500 ms
	DrainStall       time.Duration // as WriteStall, while draining; default 5 s
	Grace            time.Duration // for requests in flight while draining; default 20 s
	Tick             time.Duration // resolution of the time-outs; default 100 ms

	// Refusal makes the answer that the server gives in place of the handler. The
	// default is a problem document. The server sets Close. It is called on any
	// goroutine and must not block.
	Refusal func(Refused) http1.Response

	// Frames, if set, takes connections that start with the four bytes "VML1".
	// They are part of the bytes that its ConnHandler gets.
	Frames func(*Conn) ConnHandler
}

// Refused is a request that the server answers itself.
type Refused struct {
	Remote  netip.AddrPort // the peer
	Status  int
	Public  string    // what it is told
	Request *Exchange // as the handler knows it; nil if the request never reached it
}

func (c Config) withDefaults() Config {
	c.Loops = cmp.Or(c.Loops, runtime.GOMAXPROCS(0))
	c.MaxConns = cmp.Or(c.MaxConns, 20_000)
	c.MaxBodies = cmp.Or(c.MaxBodies, 1024)
	c.BodyRate = cmp.Or(c.BodyRate, 8<<10)
	c.WriteRate = cmp.Or(c.WriteRate, 1<<10)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 32)
	c.Limits = cmp.Or(c.Limits, http1.DefaultLimits())
	c.MaxBacklog = cmp.Or(c.MaxBacklog, 256<<10)
	c.MaxBuffered = cmp.Or(c.MaxBuffered, 256<<20)
	c.MaxOutbound = cmp.Or(c.MaxOutbound, 1<<20)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, 1024)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 10*time.Second)
	c.HandshakeStall = cmp.Or(c.HandshakeStall, min(time.Second, c.HandshakeTimeout))
	c.HeadTimeout = cmp.Or(c.HeadTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 60*time.Second)
	c.BodyStall = cmp.Or(c.BodyStall, 20*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 75*time.Second)
	c.AnswerTimeout = cmp.Or(c.AnswerTimeout, 120*time.Second)
	c.WriteStall = cmp.Or(c.WriteStall, 20*time.Second)
	c.WriteWindow = cmp.Or(c.WriteWindow, 60*time.Second)
	c.LingerTimeout = cmp.Or(c.LingerTimeout, 2*time.Second)
	c.HalfClose = cmp.Or(c.HalfClose, 5*time.Second)
	c.DrainIdle = cmp.Or(c.DrainIdle, 500*time.Millisecond)
	c.DrainStall = cmp.Or(c.DrainStall, min(5*time.Second, c.WriteStall))
	c.Grace = cmp.Or(c.Grace, 20*time.Second)
	c.Tick = cmp.Or(c.Tick, 100*time.Millisecond)
	if c.Refusal == nil {
		c.Refusal = problem
	}
	return c
}

func (c *Config) validate() error {
	if c.Listener == nil && c.Listen == "" {
		return errors.New("neither an address nor a listener is given")
	}
	for name, n := range map[string]int{
		"loops": c.Loops, "connection limit": c.MaxConns, "in-flight limit": c.MaxInFlight, "body limit": c.MaxBodies, "body rate": c.BodyRate, "write rate": c.WriteRate, "handshake limit": c.MaxHandshakes,
		"backlog limit": c.MaxBacklog, "outbound limit": c.MaxOutbound, "buffer limit": c.MaxBuffered,
	} {
		if n < 1 {
			return fmt.Errorf("%s is %d; want at least 1", name, n)
		}
	}
	if c.AcceptRate < 0 {
		return fmt.Errorf("accept rate is %d; want 0 or more", c.AcceptRate)
	}
	for name, d := range map[string]time.Duration{
		"handshake": c.HandshakeTimeout, "handshake stall": c.HandshakeStall, "head": c.HeadTimeout, "body": c.BodyTimeout, "body stall": c.BodyStall, "idle": c.IdleTimeout, "answer": c.AnswerTimeout,
		"write stall": c.WriteStall, "write window": c.WriteWindow, "linger": c.LingerTimeout, "half-close": c.HalfClose,
		"drain idle": c.DrainIdle, "drain stall": c.DrainStall, "grace": c.Grace,
	} {
		if d < c.Tick {
			return fmt.Errorf("%s time-out is %s; want at least the tick of %s", name, d, c.Tick)
		}
	}
	if c.Tick < time.Millisecond {
		return fmt.Errorf("tick is %s; want at least 1ms", c.Tick)
	}
	if err := c.Limits.Validate(); err != nil {
		return fmt.Errorf("request limits: %w", err)
	}
	return nil
}
