package session

import (
	"errors"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

var errPeerLeft = errors.New("the peer closed the WebSocket")

// Opening is what is known of a WebSocket when it opens.
type Opening struct {
	Caller  operation.Caller // who opens it
	Peer    accesslog.Peer
	Binary  bool               // the subprotocol voicemill.v1.proto
	Deflate bool               // messages may be compressed
	Watch   operation.Watching // of the job that the connection came for, if it has one
}

// WebSocket speaks WebSocket over a connection that has left HTTP.
func (k *Server) WebSocket(c *edge.Conn, o *Opening) edge.ConnHandler {
	opener := o.Caller
	opener.Shown = opener.Shown.Keep()
	o.Peer.Protocol = accesslog.WebSocket
	s := &webSocket{session: k.open(c, o.Peer, opener), binary: o.Binary}
	s.wire, s.live = s, o.Watch.Job != ""
	var inflater *ws.Inflater
	if o.Deflate {
		inflater, s.deflater = k.inflater, k.deflater
	}
	s.reader = ws.NewReader(maxMessage, inflater)
	release, err := k.ops.Connect(&opener)
	if err != nil {
		_ = k.ops.Problem(err) // counts it
		s.say(ws.CodeTryAgainLater, "too many connections of this API key or its tenant are open")
		s.conn.Close(errSessionOver)
		return s
	}
	s.counts(release)
	s.open(&o.Watch)
	return s
}

// webSocket is a session over WebSocket.
type webSocket struct {
	*session
	reader   *ws.Reader
	deflater *ws.Deflater // nil without permessage-deflate
	binary   bool         // the subprotocol voicemill.v1.proto
}

// liveStream is the stream of the watch that a connection to /live came for.
const liveStream = 1

// open greets, and begins the watch if the client came for one.
func (s *webSocket) open(w *operation.Watching) {
	s.conn.SetTimer(s.srv.cfg.Ping)
	s.send(&reply{Hello: greeting()})
	if w.Job != "" {
		_ = s.begin(&request{Stream: liveStream, Watch: &watchRequest{
			ID: string(w.Job), AfterVersion: uint64(w.After), Audio: w.Audio, FromSegment: uint32(w.From), //nolint:gosec // checked: not negative
		}})
	}
}

func greeting() *helloReply {
	return &helloReply{Agent: agentName, MaxFrame: maxMessage, MaxStreams: maxStreams}
}

const agentName = "voicemill"

// OnBytes implements [edge.ConnHandler].
func (s *webSocket) OnBytes(_ *edge.Conn, data []byte) (used int, err error) {
	for used < len(data) && !s.stalled() {
		n, ev, err := s.reader.Next(data[used:])
		used += n
		if err != nil {
			if bad, ok := errors.AsType[*ws.ProtocolError](err); ok {
				s.say(bad.Code, bad.Reason)
			}
			return used, err
		}
		s.heard(s.reader.Buffered())
		if ev.Exists {
			if err := s.event(ev); err != nil {
				return used, err
			}
			s.reader.Release()
		} else if n == 0 {
			break
		}
	}
	return used, nil
}

func (s *webSocket) event(ev ws.Event) error {
	switch ev.Op {
	case ws.Ping:
		s.write(ws.AppendFrame(nil, ws.Pong, ev.Data, false))
	case ws.Close:
		s.say(ev.Code, "")
		return errPeerLeft
	case ws.Text, ws.Binary:
		if (ev.Op == ws.Binary) != s.binary {
			return s.refuse(ws.CodeUnsupported, errors.New("messages are text in "+SubprotocolJSON+" and binary in "+SubprotocolProto))
		}
		if ev.Packed {
			return s.takeAside(ev.Data, s.unpack(ev.Op))
		}
		return s.take(ev.Data)
	default: // a pong, which was heard
	}
	return nil
}

// unpack reads a compressed message.
func (s *webSocket) unpack(op ws.Opcode) func([]byte) (*request, error) {
	return func(packed []byte) (*request, error) {
		b, err := s.reader.Unpack(op, packed)
		if err != nil {
			return nil, err
		}
		return s.parse(b)
	}
}

func (s *webSocket) parse(b []byte) (*request, error) {
	if s.binary {
		return parseProto(b)
	}
	return parseJSON(b)
}

// worthDeflating is the size from which compressing a message saves something.
const worthDeflating = 256

func (s *webSocket) pack(dst []byte, r *reply) ([]byte, error) {
	op, spell := ws.Text, r.asJSON
	if s.binary {
		op, spell = ws.Binary, r.asProto
	}
	p, err := spell()
	if err != nil {
		return dst, err
	}
	if s.deflater != nil && len(p) >= worthDeflating {
		return ws.AppendFrame(dst, op, s.deflater.Append(nil, p), true), nil
	}
	return ws.AppendFrame(dst, op, p, false), nil
}

func (s *webSocket) ping(dst []byte) []byte { return ws.AppendFrame(dst, ws.Ping, nil, false) }

func (s *webSocket) bye(dst []byte, code int, reason string) []byte {
	return ws.AppendClose(dst, code, reason)
}
