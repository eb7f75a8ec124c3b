package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

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
func (k *Server) Frames(c *edge.Conn) edge.ConnHandler {
	peer := accesslog.Peer{Protocol: accesslog.Frames, Remote: c.RemoteAddr(), Client: c.RemoteAddr().Addr().Unmap()}
	s := &framed{session: k.open(c, peer, operation.Caller{RequestID: k.ids.Next(), Started: time.Now()})}
	s.wire = s
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
	s.greeted, s.peer.Agent = true, r.Hello.Agent
	if err := s.handle(r); err != nil {
		return err
	}
	r.bytes = len(b)
	s.enter(r)
	return nil
}

// enter lets the client in, and holds its input until then. Who is known is let in
// here and now: gnet goes on reading what the client sends meanwhile.
func (s *framed) enter(hello *request) {
	s.setReading(true)
	c := s.call(hello)
	c.named()
	c.caller.RequestID = s.opener.RequestID
	s.metrics.Begin()
	c.ctx, c.cancel = context.WithCancel(s.conn.Context())
	var field []byte
	if a := hello.Hello.Authorization; a != "" {
		field = []byte(a)
	}
	var ok bool
	if c.caller.Shown, ok = s.srv.ops.Show(field, auth.HashCertificate(s.conn.ClientCertificates()), nil); !ok {
		s.shutOut(c, problem.New(problem.Unauthorized, "Send an API key: Authorization: Bearer vm_…"))
		return
	}
	if s.srv.ops.Knows(&c.caller) {
		s.admit(c)
		return
	}
	err := s.srv.dep.Pool.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.srv.panicked(p, c.caller.RequestID)
				s.shutOut(c, fmt.Errorf("hello panicked: %v", p))
			}
		}()
		c.clock.Turn(stage.Work)
		s.admit(c)
	})
	if err != nil {
		s.shutOut(c, err)
	}
}

func (s *framed) admit(c *call) {
	if err := s.greet(stage.With(c.ctx, &c.clock), c); err != nil {
		s.shutOut(c, err)
	}
}

// greet finds out who the client is and says Hello.
func (s *framed) greet(ctx context.Context, c *call) error {
	if err := s.srv.ops.Admit(ctx, &c.caller, auth.Scopes()...); err != nil {
		return err
	}
	release, err := s.srv.ops.Connect(&c.caller)
	if err != nil {
		return err
	}
	if !s.counts(release) {
		release()
		return errSessionOver
	}
	s.mu.Lock()
	s.opener.Shown, s.opener.Identity = c.caller.Shown.Keep(), c.caller.Identity
	s.mu.Unlock()
	s.entered(c, http.StatusSwitchingProtocols, nil, s.send(&reply{Hello: greeting()}))
	s.setReading(false)
	s.conn.Resume()
	return nil
}

// shutOut tells a client that it is not let in.
func (s *framed) shutOut(c *call, err error) {
	s.mu.Lock()
	s.code = ws.CodePolicy
	s.mu.Unlock()
	p := s.srv.ops.Problem(err)
	r := c.refusal(p)
	s.entered(c, p.StatusCode(), p, s.send(r))
	s.conn.Close(errSessionOver)
}

// entered counts and logs a Hello.
func (s *framed) entered(c *call, status int, p *problem.Error, sent int) {
	took := time.Since(c.caller.Started)
	s.metrics.End(c.route, c.method, status, took)
	c.log(&accesslog.Record{Status: status, Took: took, BytesOut: int64(sent), Problem: p, Stages: c.clock.Attr(took)})
	c.cancel()
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
	d := problem.OfStatus(status, reason).Document(s.opener.RequestID)
	p, err := s.pack(dst, &reply{Problem: &problemReply{Document: d, RetryAfterSeconds: retry}})
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
