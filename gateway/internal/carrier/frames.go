package carrier

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

const protocolFrames = "frames"

const lengthBytes = 4

// framed is a session over a raw connection. Its first message is Hello, which
// says who calls; until that is known, input waits.
type framed struct {
	*session
	prefaced bool
	greeted  bool   // a Hello came
	part     []byte // of one frame that is not whole
}

// Frames speaks binary frames over a raw connection, for [edge.Config].
func (k *Carrier) Frames(c *edge.Conn) edge.ConnHandler {
	s := &framed{session: k.newSession(c, protocolFrames)}
	s.wire, s.requestID = s, k.ids.next()
	c.SetTimer(helloTimeout)
	return s
}

// OnBytes implements [edge.ConnHandler].
func (s *framed) OnBytes(_ *edge.Conn, data []byte) (used int, err error) {
	if !s.prefaced {
		if len(data) < len(frame.Preface) {
			return 0, nil
		}
		s.prefaced, used = true, len(frame.Preface)
	}
	for used < len(data) && !s.stalled() {
		n, whole, err := s.next(data[used:])
		used += n
		if err != nil {
			return used, err
		}
		s.heard(len(s.part))
		if whole == nil {
			continue
		}
		if err := s.message(whole); err != nil {
			return used, err
		}
	}
	return used, nil
}

// next takes from b what the current frame lacks, and returns the frame without
// its length once it is whole. The frame is valid until the next call.
func (s *framed) next(b []byte) (n int, whole []byte, err error) {
	if len(s.part) < lengthBytes {
		if len(s.part) == 0 && len(b) >= lengthBytes { // the usual case: a frame that arrived whole is not copied
			size, err := s.size(b)
			if err != nil {
				return 0, nil, err
			}
			if len(b) >= lengthBytes+size {
				return lengthBytes + size, b[lengthBytes : lengthBytes+size : lengthBytes+size], nil
			}
		}
		n = min(lengthBytes-len(s.part), len(b))
		s.part = append(s.part, b[:n]...)
		if len(s.part) < lengthBytes {
			return n, nil, nil
		}
	}
	size, err := s.size(s.part)
	if err != nil {
		return n, nil, err
	}
	more := min(lengthBytes+size-len(s.part), len(b)-n)
	s.part = append(s.part, b[n:n+more]...)
	n += more
	if len(s.part) < lengthBytes+size {
		return n, nil, nil
	}
	whole, s.part = s.part[lengthBytes:], nil
	return n, whole, nil
}

// size reads and checks a length.
func (s *framed) size(b []byte) (int, error) {
	size, most := int(binary.BigEndian.Uint32(b)), maxMessage
	if !s.greeted {
		most = maxHello
	}
	if size > most {
		err := fmt.Errorf("%w: %d bytes, at most %d", frame.ErrTooLarge, size, most)
		return 0, s.refuse(ws.CodeTooBig, err)
	}
	return size, nil
}

func (s *framed) message(b []byte) error {
	if s.greeted {
		return s.take(b)
	}
	r, err := parseProto(b)
	if err != nil {
		return s.refuse(ws.CodeInvalidPayload, err)
	}
	if r.Hello == nil || r.Stream != 0 {
		return s.refuse(ws.CodeProtocolError, errors.New("the first frame must be Hello, on stream 0"))
	}
	s.greeted, s.agent = true, r.Hello.Agent
	if err := s.handle(r, false); err != nil {
		return err
	}
	return s.enter(r.Hello.Authorization, len(b))
}

// enter asks the API to let the client in, and holds its input until then.
func (s *framed) enter(authorization string, bytesIn int) error {
	s.setReading(true)
	e := &entrance{s: s, authorization: authorization, bytesIn: bytesIn}
	e.call.Exchange, e.call.Started, e.call.RequestID = e, time.Now(), s.requestID
	e.call.Certificate = certificate(s.conn.ClientCertificates())
	s.k.metrics.begin()
	s.k.api.Serve(&e.call)
	return nil
}

func (s *framed) parse(b []byte) (*request, error) { return parseProto(b) }

func (s *framed) pack(dst []byte, r *reply) ([]byte, error) { return frame.Append(dst, r.frame()) }

func (s *framed) ping(dst []byte) []byte {
	p, err := s.pack(dst, &reply{Ping: &beat{}})
	if err != nil {
		return dst
	}
	return p
}

// bye is a problem on stream 0, unless there is none.
func (s *framed) bye(dst []byte, code int, reason string) []byte {
	status, retry := http.StatusBadRequest, uint32(0)
	switch code {
	case ws.CodeNormal:
		return dst
	case ws.CodeTooBig:
		status = http.StatusRequestEntityTooLarge
	case ws.CodeServiceRestart, ws.CodeTryAgainLater:
		status, retry = http.StatusServiceUnavailable, 1
	case ws.CodeInternal:
		status = http.StatusInternalServerError
	}
	a := api.Refusal(status, reason, s.requestID)
	p, err := s.pack(dst, &reply{Problem: &problemReply{Problem: a.Problem, RetryAfterSeconds: retry}})
	if err != nil {
		return dst
	}
	return p
}

// OnTimer implements [edge.TimerHandler].
func (s *framed) OnTimer(c *edge.Conn) {
	if !s.greeted {
		s.say(ws.CodePolicy, "no Hello came in time")
		c.Close(errNoHello)
		return
	}
	s.session.OnTimer(c)
}

// entrance is the call that a Hello is: GET /v1/connect.
type entrance struct {
	s             *framed
	authorization string
	bytesIn       int
	call          api.Call
}

// Method implements [api.Exchange].
func (e *entrance) Method() string { return http.MethodGet }

// RawPath implements [api.Exchange].
func (e *entrance) RawPath() []byte { return []byte("/v1/connect") }

// Query implements [api.Exchange].
func (e *entrance) Query() []byte { return nil }

// Header implements [api.Exchange].
func (e *entrance) Header(name string) []byte {
	if name == "authorization" && e.authorization != "" {
		return []byte(e.authorization)
	}
	return nil
}

// Body implements [api.Exchange].
func (e *entrance) Body() []byte { return nil }

// Detach implements [api.Exchange].
func (e *entrance) Detach() {}

// Context implements [api.Exchange].
func (e *entrance) Context() context.Context { return e.s.conn.Context() }

// OnClose implements [api.Exchange]: nothing about it waits for anything.
func (e *entrance) OnClose(func()) {}

// Connect implements [api.Connectable].
func (e *entrance) Connect(_ api.Watching, admit api.Admission) {
	s := e.s
	if !s.admitted(admit) {
		e.ended(&api.Answer{Status: http.StatusTooManyRequests}, 0)
		return
	}
	s.mu.Lock()
	s.key, s.token, s.tenant, s.keyID = e.call.Key, bytes.Clone(e.call.Token), e.call.Identity.Tenant, e.call.Identity.KeyID
	s.mu.Unlock()
	n := s.send(&reply{Hello: greeting()})
	e.ended(&api.Answer{Status: http.StatusSwitchingProtocols}, n)
	s.setReading(false)
	s.conn.Resume()
}

// Reply implements [api.Exchange]: the client is not let in.
func (e *entrance) Reply(a *api.Answer) {
	s := e.s
	s.mu.Lock()
	s.code = ws.CodePolicy
	s.mu.Unlock()
	n := s.send(&reply{Problem: &problemReply{Problem: a.Problem, RetryAfterSeconds: seconds(a.RetryAfter)}})
	e.ended(a, n)
	s.conn.Close(errSessionOver)
}

// ended counts and logs the call.
func (e *entrance) ended(a *api.Answer, bytesOut int) {
	e.s.k.metrics.of(protocolFrames).end(e.call.Route, http.MethodGet, a.Status, time.Since(e.call.Started))
	e.s.logCall(message{call: &e.call, method: http.MethodGet, path: "/v1/connect", bytesIn: e.bytesIn, bytesOut: bytesOut}, a, e.call.Stages)
}

var _ api.Connectable = (*entrance)(nil)
