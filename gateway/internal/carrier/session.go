package carrier

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/job"
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
	k        *Carrier
	conn     *edge.Conn
	wire     wire
	protocol string
	agent    string     // constant once clients are let in, as those below
	client   netip.Addr // the peer, or who it speaks for if it is a proxy that is trusted
	started  time.Time

	requestID, traceparent string // of the request that opened it

	live bool // the only call is a watch, and the session ends with it

	// On the loop only.
	heardAt   time.Time // when the last input came
	pinged    bool      // and nothing came since
	partSince time.Time // when a message began that is not whole; zero for none

	key    auth.Hash  // under mu until the first call, constant from then on
	token  []byte     // likewise; the access token that key is the hash of, nil for others
	tenant job.Tenant // likewise
	keyID  string     // likewise
	calls  atomic.Uint64

	release func() // guarded by mu: gives the connection back to the limits of its key; nil unless it counts
	closed  bool   // guarded by mu

	mu       sync.Mutex
	streams  map[uint32]*stream // guarded by mu
	window   uint32             // guarded by mu: credit that the client gives a new stream; 0 is no limit
	reading  bool               // guarded by mu: a message is being read off the loop, and input waits
	draining bool               // guarded by mu
	ended    bool               // guarded by mu: the peer has shut its sending side
	probed   bool               // guarded by mu: and was asked whether it still listens
	code     int                // guarded by mu: the farewell that was said; 0 for none
}

var (
	errSessionOver = errors.New("the session has ended")
	errNoHello     = errors.New("no hello came")
)

func (k *Carrier) newSession(c *edge.Conn, protocol string) *session {
	now := time.Now()
	k.metrics.of(protocol).sessions.Add(1)
	return &session{k: k, conn: c, protocol: protocol, client: c.RemoteAddr().Addr().Unmap(), started: now, heardAt: now, streams: make(map[uint32]*stream)}
}

// admitted counts the connection against the limits of its key until it closes.
// It reports false, and ends the connection, if there are too many.
func (s *session) admitted(admit api.Admission) bool {
	release, ok := admit()
	if !ok {
		s.say(ws.CodeTryAgainLater, "too many connections of this API key or its tenant are open")
		s.conn.Close(errSessionOver)
		return false
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.release = release
	}
	s.mu.Unlock()
	if closed {
		release()
	}
	return !closed
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
	s.conn.Hold(part)
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
		return s.handle(r, false)
	}
	return s.takeAside(b, s.wire.parse)
}

// takeAside reads one whole message off the loop.
func (s *session) takeAside(b []byte, parse func([]byte) (*request, error)) error {
	own := append([]byte(nil), b...)
	s.setReading(true)
	err := s.k.api.Go(func() {
		r, err := parse(own)
		if bad, ok := errors.AsType[*ws.ProtocolError](err); ok {
			s.say(bad.Code, bad.Reason)
		} else if err != nil {
			err = s.refuse(ws.CodeInvalidPayload, err)
		} else {
			r.bytes = len(own)
			err = s.handle(r, true)
		}
		if err != nil {
			s.conn.Close(err)
		}
		s.setReading(false)
		s.conn.Resume()
	}, func() {
		s.say(ws.CodeInternal, "The server failed to handle this message.")
		s.conn.Close(errSessionOver)
	})
	if err != nil {
		s.say(ws.CodeTryAgainLater, job.PublicOf(err, "The server is overloaded."))
		return err
	}
	return nil
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

// handle does what a message asks for. detached says that it may block.
func (s *session) handle(r *request, detached bool) error {
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
		if st := s.find(r.Stream); st != nil {
			st.grant(r.Window.Bytes)
		}
		return nil
	case r.Cancel != nil && r.Cancel.ID == "":
		if st := s.find(r.Stream); st != nil {
			st.leave()
		}
		return nil
	}
	return s.begin(r, detached)
}

func (s *session) find(id uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// begin opens a stream for a call.
func (s *session) begin(r *request, detached bool) error {
	st := &stream{s: s, id: r.Stream, bytesIn: r.bytes}
	if r.Stream == 0 || !st.fill(r) {
		return s.refuse(ws.CodeProtocolError, errors.New("stream 0 has no calls"))
	}
	st.call.Exchange, st.call.Started, st.call.Key, st.call.Token = st, time.Now(), s.key, s.token
	if st.call.RequestID == "" {
		st.call.RequestID = s.k.ids.next()
	}
	s.mu.Lock()
	_, taken := s.streams[r.Stream]
	full, draining := len(s.streams) >= maxStreams, s.draining
	if !taken && !full && !draining {
		s.streams[r.Stream] = st
	}
	s.mu.Unlock()
	switch {
	case taken:
		return s.refuse(ws.CodeProtocolError, errors.New("a call is open on this stream"))
	case full:
		s.k.metrics.Shed(api.ShedCalls)
		s.turnAway(st, "256 calls are open on this connection.")
		return nil
	case draining:
		s.turnAway(st, "This server is restarting; connect again.")
		return nil
	}
	s.calls.Add(1)
	s.k.metrics.begin()
	if detached {
		s.k.api.ServeDetached(&st.call)
	} else {
		s.k.api.Serve(&st.call)
	}
	return nil
}

// turnAway refuses a call that was never opened.
func (s *session) turnAway(st *stream, detail string) {
	s.mu.Lock()
	st.call.Identity.Tenant, st.call.Identity.KeyID = s.tenant, s.keyID
	s.mu.Unlock()
	a := api.Refusal(http.StatusServiceUnavailable, detail, st.call.RequestID)
	st.call.Route = noRoute
	n := s.send(st.reply(&a))
	s.k.metrics.of(s.protocol).count(noRoute, st.method, a.Status, time.Since(st.call.Started))
	s.logCall(st.message(n), &a, nil)
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
func (s *session) answer(st *stream, r *reply) int {
	p, err := s.pack(r)
	if err != nil {
		return 0
	}
	s.mu.Lock()
	delete(s.streams, st.id)
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

// done forgets a stream whose call has ended.
func (s *session) done(st *stream) {
	s.mu.Lock()
	if s.streams[st.id] == st {
		delete(s.streams, st.id)
	}
	cancel := st.cancel
	st.onClose = nil
	leave := s.draining && len(s.streams) == 0
	ended := s.ended
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
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

// endLive ends a session whose only call was a watch.
func (s *session) endLive(why *api.Answer, known int64) {
	switch {
	case why == nil:
		s.say(ws.CodeNormal, "the job has ended")
	case why.Status == http.StatusUnauthorized:
		s.say(ws.CodePolicy, why.Problem.Detail)
	case why.Status == http.StatusServiceUnavailable:
		s.say(ws.CodeServiceRestart, "restarting; connect again with after_version="+itoa(known))
	default:
		s.say(ws.CodeInternal, why.Problem.Title)
	}
	s.conn.Close(nil)
}

// refuseLive ends a session whose only call was refused.
func (s *session) refuseLive(why *api.Answer) {
	code, reason := ws.CodePolicy, "the watch was refused"
	if why.RetryAfter > 0 {
		code = ws.CodeTryAgainLater
	}
	if why.Problem != nil {
		reason = why.Problem.Detail
	}
	s.say(code, reason)
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
	case s.pinged && silent >= 2*s.k.cfg.Ping:
		s.say(ws.CodePolicy, "nothing was heard for too long")
		c.Close(errSessionOver)
		return
	case silent >= s.k.cfg.Ping && !s.pinged:
		s.pinged = true
		_ = c.Write(s.wire.ping(nil)) // a peer that is gone is noticed by its silence
	}
	c.SetTimer(min(s.k.cfg.Ping, partTimeout/4))
}

// OnDrain implements [edge.DrainHandler]. Calls that are open are answered; the
// hub ends the watches.
func (s *session) OnDrain(*edge.Conn) {
	s.mu.Lock()
	s.draining = true
	idle := len(s.streams) == 0
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
	open := len(s.streams) > 0
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

// OnClose implements [edge.ConnHandler].
func (s *session) OnClose(err error) {
	s.mu.Lock()
	open := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		open = append(open, st)
	}
	code, tenant, keyID, release := s.code, s.tenant, s.keyID, s.release
	s.closed, s.release = true, nil
	s.mu.Unlock()
	if release != nil {
		release()
	}
	for _, st := range open {
		st.leave()
	}
	s.k.metrics.of(s.protocol).sessions.Add(-1)
	s.logEnd(code, tenant, keyID, err)
}
