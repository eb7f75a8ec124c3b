package carrier

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

const protocolWebSocket = "websocket"

var errPeerLeft = errors.New("the peer closed the WebSocket")

// Connect implements [api.Connectable].
func (x *exchange) Connect(w api.Watching, admit api.Admission) {
	refuse := func(status int, detail string) {
		a := api.Refusal(status, detail, x.call.RequestID)
		x.Reply(&a)
	}
	hs, err := ws.Shake(x.Method(), x.list, []string{subprotocolJSON, subprotocolProto})
	var bad *ws.HandshakeError
	switch {
	case x.Header("upgrade") == nil:
		refuse(http.StatusUpgradeRequired, "Connect with WebSocket.")
		return
	case errors.As(err, &bad):
		refuse(bad.Status, "The WebSocket handshake is wrong: "+bad.Detail+".")
		return
	case hs.Subprotocol == "" && x.Header("sec-websocket-protocol") != nil:
		refuse(http.StatusBadRequest, "The subprotocols are "+subprotocolJSON+" and "+subprotocolProto+".")
		return
	}
	x.upgrade(hs, w, admit)
}

// list returns the values of a field that may be repeated.
func (x *exchange) list(name string) string {
	var all []byte
	for n, v := range x.Headers() {
		if !equalFold(n, name) {
			continue
		}
		if all != nil {
			all = append(all, ',')
		}
		all = append(all, v...)
	}
	return string(all)
}

// upgrade answers 101 and gives the connection to a session.
func (x *exchange) upgrade(hs ws.Handshake, w api.Watching, admit api.Admission) {
	k := x.k
	deflate := hs.Deflate && k.cfg.Deflate
	header := []http1.Field{
		{Name: "Upgrade", Value: "websocket"}, {Name: "Sec-WebSocket-Accept", Value: hs.Accept}, {Name: "X-Request-Id", Value: x.call.RequestID},
	}
	if tp := x.call.Traceparent; tp != "" {
		header = append(header, http1.Field{Name: "Traceparent", Value: tp})
	}
	if hs.Subprotocol != "" {
		header = append(header, http1.Field{Name: "Sec-WebSocket-Protocol", Value: hs.Subprotocol})
	}
	if deflate {
		header = append(header, http1.Field{Name: "Sec-WebSocket-Extensions", Value: ws.ExtensionAnswer})
	}
	line := x.entry(&api.Answer{Status: http.StatusSwitchingProtocols}, 0)
	key, token, who := x.call.Key, bytes.Clone(x.call.Token), x.call.Identity
	agent, client := string(x.Header("user-agent")), x.clientIP()
	id, traceparent := x.call.RequestID, x.call.Traceparent
	upgraded := x.Exchange.Upgrade(header, func(c *edge.Conn) edge.ConnHandler {
		s := &webSocket{session: k.newSession(c, protocolWebSocket), binary: hs.Subprotocol == subprotocolProto}
		s.wire, s.key, s.token, s.tenant, s.keyID, s.agent, s.live = s, key, token, who.Tenant, who.KeyID, agent, w.Job != ""
		s.client, s.requestID, s.traceparent = client, id, traceparent
		var inflater *ws.Inflater
		if deflate {
			inflater, s.deflater = k.inflater, k.deflater
		}
		s.reader = ws.NewReader(maxMessage, inflater)
		if s.admitted(admit) {
			s.open(w)
		}
		return s
	})
	if !upgraded || !x.answered.CompareAndSwap(false, true) {
		refusal := api.Refusal(http.StatusBadRequest, "The connection cannot be upgraded.", x.call.RequestID)
		x.Reply(&refusal)
		return
	}
	k.metrics.of(protocolHTTP).end(line.route, line.method, http.StatusSwitchingProtocols, line.took)
	k.log(&line)
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
func (s *webSocket) open(w api.Watching) {
	s.conn.SetTimer(s.k.cfg.Ping)
	s.send(&reply{Hello: greeting()})
	if w.Job != "" {
		_ = s.begin(&request{Stream: liveStream, Watch: &watchRequest{
			ID: string(w.Job), AfterVersion: uint64(w.After), Audio: w.Audio, FromSegment: uint32(w.From), //nolint:gosec // checked: not negative
		}}, false)
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
			return s.refuse(ws.CodeUnsupported, errors.New("messages are text in "+subprotocolJSON+" and binary in "+subprotocolProto))
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

// equalFold compares the name of a field.
func equalFold(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
