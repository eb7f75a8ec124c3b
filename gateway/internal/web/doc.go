// Package web serves HTTP/1.1: it finds the route of a request, decodes it, calls
// package operation and encodes what that returns.
//
// [Server.ServeEdge] runs on an event loop. It answers for a job from memory; every
// other request goes to a goroutine of its own, in a bounded pool, where [Call]
// reads from top to bottom: route, caller, handler, answer. A handler returns an
// [Answer] or an error, and nil if it has answered with a body in pieces, with
// server-sent events, or by giving the connection to package session.
package web
