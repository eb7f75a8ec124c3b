package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/session"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

// connect turns the request into a connection for many calls.
func connect(_ context.Context, c *Call) (*Answer, error) {
	if _, err := c.query(accessToken); err != nil {
		return nil, err
	}
	return nil, c.upgrade(operation.Watching{})
}

// live turns the request into a connection that watches one job.
func live(_ context.Context, c *Call) (*Answer, error) {
	want, err := c.watching()
	if err != nil {
		return nil, err
	}
	if err := c.s.ops.Owns(&c.caller, want.Job); err != nil {
		return nil, err
	}
	return nil, c.upgrade(want)
}

// upgrade answers 101 and gives the connection to a session.
func (c *Call) upgrade(want operation.Watching) error {
	release, err := c.s.ops.Connect(&c.caller)
	if err != nil {
		return err
	}
	release() // it is counted when it is one, because it may never become one
	hs, err := c.shake()
	if err != nil {
		return err
	}
	deflate := hs.Deflate && c.s.dep.Sessions.Deflates()
	opening := &session.Opening{
		Caller: c.caller, Peer: *c.peer(), Binary: hs.Subprotocol == session.SubprotocolProto, Deflate: deflate, Watch: want,
	}
	if !c.Exchange.Upgrade(c.switching(&hs, deflate), func(conn *edge.Conn) edge.ConnHandler { return c.s.dep.Sessions.WebSocket(conn, opening) }) {
		return problem.OfStatus(http.StatusBadRequest, "The connection cannot be upgraded.")
	}
	c.begun = true
	took := time.Since(c.caller.Started)
	c.s.metrics.End(c.pattern(), c.Method(), http.StatusSwitchingProtocols, took)
	c.log(&accesslog.Record{Status: http.StatusSwitchingProtocols, Took: took, Events: -1, Stages: c.clock.Attr(took)})
	return nil
}

// shake reads the handshake of WebSocket.
func (c *Call) shake() (ws.Handshake, error) {
	hs, err := ws.Shake(c.Method(), c.list, []string{session.SubprotocolJSON, session.SubprotocolProto})
	bad, wrong := errors.AsType[*ws.HandshakeError](err)
	switch {
	case c.Header("upgrade") == nil:
		return hs, problem.OfStatus(http.StatusUpgradeRequired, "Connect with WebSocket.")
	case wrong:
		return hs, problem.OfStatus(bad.Status, "The WebSocket handshake is wrong: "+bad.Detail+".")
	case hs.Subprotocol == "" && c.Header("sec-websocket-protocol") != nil:
		return hs, problem.OfStatus(http.StatusBadRequest, "The subprotocols are "+session.SubprotocolJSON+" and "+session.SubprotocolProto+".")
	}
	return hs, nil
}

// switching returns the fields of the 101.
func (c *Call) switching(hs *ws.Handshake, deflate bool) []http1.Field {
	header := []http1.Field{
		{Name: "Upgrade", Value: "websocket"}, {Name: "Sec-WebSocket-Accept", Value: hs.Accept}, {Name: "X-Request-Id", Value: c.caller.RequestID},
	}
	if tp := c.caller.Traceparent; tp != "" {
		header = append(header, http1.Field{Name: "Traceparent", Value: tp})
	}
	if hs.Subprotocol != "" {
		header = append(header, http1.Field{Name: "Sec-WebSocket-Protocol", Value: hs.Subprotocol})
	}
	if deflate {
		header = append(header, http1.Field{Name: "Sec-WebSocket-Extensions", Value: ws.ExtensionAnswer})
	}
	return header
}

// peer returns who the request is from.
func (c *Call) peer() *accesslog.Peer {
	return &accesslog.Peer{Protocol: accesslog.HTTP, Remote: c.RemoteAddr(), Client: c.clientIP(), Agent: string(c.Header("user-agent"))}
}

// clientIP is the peer, or who it speaks for if it is a proxy that is trusted.
func (c *Call) clientIP() netip.Addr {
	peer := c.RemoteAddr().Addr()
	if !c.s.proxies.Trusts(peer) {
		return peer.Unmap()
	}
	return c.s.proxies.Resolve(peer, c.values("forwarded"), c.values("x-forwarded-for"))
}
