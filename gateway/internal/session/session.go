package session

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

const (
	maxMessage   = 1 << 20   // bytes of one message, as of a body over HTTP
	maxStreams   = 256       // calls open on one session
	onLoopBytes  = 16 << 10  // larger messages are read off the event loop
	inputHigh    = 256 << 10 // output that may wait before input has to
	partTimeout  = time.Minute
	helloTimeout = 10 * time.Second
	maxHello     = 10 << 10 // an access token has 8 KiB at most; bytes that somebody may send before anybody knows who it is
)

// wire is how messages lie on a connection: frames with a length, or WebSocket.
type wire interface {
	// pack appends a reply as the peer gets it.
	pack(dst []byte, r *reply) ([]byte, error)
	// parse reads the bytes of one message.
	parse(b []byte) (*request, error)
	// ping appends what makes a peer that lives say something.
	ping(dst []byte) []byte
	// bye appends the farewell for a WebSocket close code.
	bye(dst []byte, code int, reason string) []byte
}

// session is a connection with many calls on it. It is made and fed on the
// connection's loop; calls may be answered from anywhere.
type session struct {
	srv     *Server
	conn    *edge.Conn
	wire    wire
	metrics *accesslog.ProtocolMetrics
	peer    accesslog.Peer   // constant once clients are let in
	opener  operation.Caller // who opened it, with what; under mu until the first call, constant from then on
	started time.Time
	live    bool // the only call is a watch, and the session ends with it

	// On the loop only.
	heardAt   time.Time // when the last input came
	pinged    bool      // and nothing came since
	partSince time.Time // when a message began that is not whole; zero for none

	begun atomic.Uint64 // calls

	mu       sync.Mutex
	calls    map[uint32]*call // guarded by mu: those that are open, by stream
	release  func()           // guarded by mu: gives the connection back to the limits of its key; nil unless it counts
	closed   bool             // guarded by mu
	window   uint32           // guarded by mu: credit that the client gives a new stream; 0 is no limit
	reading  bool             // guarded by mu: a message is being read off the loop, and input waits
	draining bool             // guarded by mu
	ended    bool             // guarded by mu: the peer has shut its sending side
	probed   bool             // guarded by mu: and was asked whether it still listens
	code     int              // guarded by mu: the farewell that was said; 0 for none
}

var (
	errSessionOver = errors.New("the session has ended")
	errNoHello     = errors.New("no hello came")
)

// counts notes what gives the connection back to the limits of its key when it
// closes. It reports false if it has closed already.
func (s *session) counts(release func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.release = release
	}
	return !s.closed
}

// heard notes input, and whether a message is under way.
func (s *session) heard(part int) {
	s.heardAt, s.pinged = time.Now(), false
	switch {
	case part == 0:
		s.partSince = time.Time{}
	case s.partSince.IsZero():
		s.partSince = s.heardAt
	}
	s.conn.Account(part)
}

// stalled reports whether input must wait: for a message that is being read, or
// for a peer that does not take its answers.
func (s *session) stalled() bool {
	s.mu.Lock()
	reading := s.reading
	s.mu.Unlock()
	return reading || s.conn.Buffered() > inputHigh
}

// take reads one whole message. A large one is copied and read off the loop,
// while input waits, so that messages keep their order.
func (s *session) take(b []byte) error {
	if len(b) <= onLoopBytes {
		r, err := s.wire.parse(b)
		if err != nil {
			return s.refuse(ws.CodeInvalidPayload, err)
		}
		r.bytes = len(b)
		return s.handle(r)
	}
	return s.takeAside(b, s.wire.parse)
}

// takeAside reads one whole message off the loop.
func (s *session) takeAside(b []byte, parse func([]byte) (*request, error)) error {
	own := append([]byte(nil), b...)
	s.setReading(true)
	err := s.srv.dep.Pool.Go(func() {
		defer s.rescue()
		r, err := parse(own)
		if bad, ok := errors.AsType[*ws.ProtocolError](err); ok {
			s.say(bad.Code, bad.Reason)
		} else if err != nil {
			err = s.refuse(ws.CodeInvalidPayload, err)
		} else {
			r.bytes = len(own)
			err = s.handle(r)
		}
		if err != nil {
			s.conn.Close(err)
		}
		s.setReading(false)
		s.conn.Resume()
	})
	if err != nil {
		p := s.srv.ops.Problem(err)
		s.say(ws.CodeTryAgainLater, cmp.Or(p.Detail, "The server is overloaded."))
		return err
	}
	return nil
}

// rescue ends a session that the reading of a message panicked for.
func (s *session) rescue() {
	if p := recover(); p != nil {
		s.srv.panicked(p, s.opener.RequestID)
		s.say(ws.CodeInternal, "The server failed to handle this message.")
		s.conn.Close(errSessionOver)
	}
}

func (s *session) setReading(on bool) {
	s.mu.Lock()
	s.reading = on
	s.mu.Unlock()
}

// refuse ends the session because of what its peer sent.
func (s *session) refuse(code int, err error) error {
	s.say(code, err.Error())
	return err
}

// handle does what a message asks for.
func (s *session) handle(r *request) error {
	switch {
	case r.Hello != nil:
		s.mu.Lock()
		s.window = r.Hello.Window
		s.mu.Unlock()
		return nil
	case r.Ping != nil:
		if len(r.Ping.Data) > maxBeat {
			return s.refuse(ws.CodeProtocolError, errors.New("the data of a ping has more than 125 bytes"))
		}
		s.send(&reply{Stream: r.Stream, Pong: r.Ping})
		return nil
	case r.Pong != nil:
		return nil
	case r.Window != nil:
		if c := s.find(r.Stream); c != nil {
			c.grant(r.Window.Bytes)
		}
		return nil
	case r.Cancel != nil && r.Cancel.ID == "":
		if c := s.find(r.Stream); c != nil {
			c.leave()
		}
		return nil
	}
	return s.begin(r)
}

func (s *session) find(id uint32) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

// begin opens a call on its stream.
func (s *session) begin(r *request) error {
	c := s.call(r)
	if r.Stream == 0 || !c.named() {
		return s.refuse(ws.CodeProtocolError, errors.New("stream 0 has no calls"))
	}
	s.mu.Lock()
	_, taken := s.calls[r.Stream]
	full, draining := len(s.calls) >= maxStreams, s.draining
	if !taken && !full && !draining {
		s.calls[r.Stream] = c
	}
	s.mu.Unlock()
	switch {
	case taken:
		return s.refuse(ws.CodeProtocolError, errors.New("a call is open on this stream"))
	case full:
		s.turnAway(c, &problem.Error{Slug: problem.Overloaded, Detail: "256 calls are open on this connection.", Shed: operation.ShedCalls})
		return nil
	case draining:
		s.turnAway(c, problem.New(problem.Overloaded, "This server is restarting; connect again."))
		return nil
	}
	s.begun.Add(1)
	s.metrics.Begin()
	c.begin()
	return nil
}

// turnAway refuses a call that was never opened.
func (s *session) turnAway(c *call, why error) {
	c.caller.Identity = s.opener.Identity
	c.route = accesslog.NoRoute
	p := s.srv.ops.Problem(why)
	n := s.send(c.refusal(p))
	took := time.Since(c.caller.Started)
	s.metrics.Count(c.route, c.method, p.StatusCode(), took)
	c.log(&accesslog.Record{Status: p.StatusCode(), Took: took, BytesOut: int64(n), Problem: p})
}

// pack spells a reply. One that cannot be spelt ends the session.
func (s *session) pack(r *reply) ([]byte, error) {
	p, err := s.wire.pack(nil, r)
	if err != nil {
		s.say(ws.CodeInternal, "An answer could not be sent.")
		s.conn.Close(err)
	}
	return p, err
}

// send sends a reply that does not end a call. It returns how long it is.
func (s *session) send(r *reply) int {
	p, err := s.pack(r)
	if err != nil {
		return 0
	}
	s.write(p)
	return len(p)
}

// answer sends the reply that ends a call. Its stream is free before the peer can
// know, because the peer may use it again at once.
func (s *session) answer(c *call, r *reply) int {
	p, err := s.pack(r)
	if err != nil {
		return 0
	}
	s.mu.Lock()
	s.forgetLocked(c)
	err = s.conn.Write(p) // under the mutex, so that nobody finds the session idle before the answer is on its way
	s.mu.Unlock()
	if errors.Is(err, edge.ErrCongested) {
		s.conn.Close(err)
	}
	return len(p)
}

// write queues p. An answer is never dropped, so a peer that lets too many
// pile up is cut.
func (s *session) write(p []byte) {
	if err := s.conn.Write(p); errors.Is(err, edge.ErrCongested) {
		s.conn.Close(err)
	}
}

// forgetLocked frees the stream of a call.
func (s *session) forgetLocked(c *call) {
	if s.calls[c.id] == c {
		delete(s.calls, c.id)
	}
}

// done forgets a call that has ended.
func (s *session) done(c *call) {
	s.mu.Lock()
	s.forgetLocked(c)
	leave := s.draining && len(s.calls) == 0
	ended := s.ended
	s.mu.Unlock()
	if leave {
		s.restart()
	}
	if ended {
		s.conn.Resume() // to ask what is due
	}
}

// restart says that the server goes and the client should come back.
func (s *session) restart() {
	s.say(ws.CodeServiceRestart, "restarting; connect again and resume with after_version")
	s.conn.Close(nil)
}

// endLive ends a session whose only call was a watch, which began and ended for why;
// nil if the job has ended.
func (s *session) endLive(why *problem.Error, known int64) {
	switch {
	case why == nil:
		s.say(ws.CodeNormal, "the job has ended")
	case why.StatusCode() == http.StatusUnauthorized:
		s.say(ws.CodePolicy, why.Detail)
	case why.StatusCode() == http.StatusServiceUnavailable:
		s.say(ws.CodeServiceRestart, "restarting; connect again with after_version="+strconv.FormatInt(known, 10))
	default:
		s.say(ws.CodeInternal, why.Document("").Title)
	}
	s.conn.Close(nil)
}

// refuseLive ends a session whose only call was refused.
func (s *session) refuseLive(why *problem.Error) {
	code := ws.CodePolicy
	if why.RetryAfter() > 0 {
		code = ws.CodeTryAgainLater
	}
	s.say(code, why.Document("").Detail)
	s.conn.Close(nil)
}

// say sends the farewell, once. The caller closes the connection.
func (s *session) say(code int, reason string) {
	s.mu.Lock()
	said := s.code != 0
	if !said {
		s.code = code
	}
	s.mu.Unlock()
	if !said {
		_ = s.conn.Write(s.wire.bye(nil, code, reason)) // a peer that does not read learns it from the end
	}
}

// OnTimer implements [edge.TimerHandler]: it looks after a silent peer.
func (s *session) OnTimer(c *edge.Conn) {
	now := time.Now()
	silent := now.Sub(s.heardAt)
	switch {
	case !s.partSince.IsZero() && now.Sub(s.partSince) >= partTimeout:
		s.say(ws.CodePolicy, "a message took more than a minute")
		c.Close(errSessionOver)
		return
	case s.pinged && silent >= 2*s.srv.cfg.Ping:
		s.say(ws.CodePolicy, "nothing was heard for too long")
		c.Close(errSessionOver)
		return
	case silent >= s.srv.cfg.Ping && !s.pinged:
		s.pinged = true
		_ = c.Write(s.wire.ping(nil)) // a peer that is gone is noticed by its silence
	}
	c.SetTimer(min(s.srv.cfg.Ping, partTimeout/4))
}

// OnDrain implements [edge.DrainHandler]. Calls that are open are answered; the
// hub ends the watches.
func (s *session) OnDrain(*edge.Conn) {
	s.mu.Lock()
	s.draining = true
	idle := len(s.calls) == 0
	s.mu.Unlock()
	if idle {
		s.restart()
	}
}

// Due implements [edge.EndHandler]: calls that are open may be answered, and
// messages read that wait. A ping finds out whether the peer has shut more than
// its sending side: it is answered with a reset then.
func (s *session) Due() bool {
	stalled := s.stalled()
	s.mu.Lock()
	s.ended = true
	open := len(s.calls) > 0
	probe := open && !s.probed
	s.probed = s.probed || open
	s.mu.Unlock()
	if probe {
		_ = s.conn.Write(s.wire.ping(nil)) // a peer that does not read is cut for that
	}
	return stalled || open
}

// OnEnd implements [edge.EndHandler].
func (s *session) OnEnd(*edge.Conn) {
	s.say(ws.CodeNormal, "")
	s.conn.Close(nil)
}

// OnClose implements [edge.ConnHandler]. The context of the connection, and with it
// those of its calls, have ended.
func (s *session) OnClose(err error) {
	s.mu.Lock()
	opener, code, release := s.opener, s.code, s.release
	s.closed, s.release = true, nil
	s.mu.Unlock()
	if release != nil {
		release()
	}
	s.metrics.Sessions.Add(-1)
	if left, wanted := s.srv.dep.Access.Wants(statusOf(code), 0, time.Now()); wanted {
		if errors.Is(err, errPeerLeft) {
			err = nil
		}
		s.srv.dep.Access.WriteEnded(&accesslog.Ended{Peer: &s.peer, Caller: &opener, Took: time.Since(s.started), Calls: s.begun.Load(), Code: code, Err: err}, left)
	}
}

// statusOf is what a farewell is to the sampler of the access log.
func statusOf(code int) int {
	switch code {
	case ws.CodeProtocolError, ws.CodeUnsupported, ws.CodeInvalidPayload, ws.CodePolicy, ws.CodeTooBig:
		return http.StatusBadRequest
	case ws.CodeInternal, ws.CodeTryAgainLater:
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}
