// Package session carries many calls at a time on one connection, each on a stream:
// over WebSocket as JSON or protobuf, or as binary frames. It decodes messages, calls
// package operation with the identity that was found when the connection opened, and
// encodes what that returns.
//
// A session is fed on its connection's event loop. A large message is read off the
// loop while input waits, so that messages keep their order. A question for a job is
// answered on the loop if memory knows; every other call has a goroutine of its own,
// which reads from top to bottom. A session ends its calls when its connection goes,
// and its connection when the server drains and the last call is answered.
package session
