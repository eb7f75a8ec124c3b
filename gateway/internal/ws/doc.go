// Package ws is the server's side of the WebSocket protocol (RFC 6455) with
// permessage-deflate (RFC 7692), as pure code: bytes in, messages out, and the
// other way round. It owns no socket and starts nothing, so that the edge can
// call it on an event loop and a test can cut its input anywhere.
//
// A [Reader] takes whatever bytes have arrived and returns at most one [Event]
// a call. Payload is unmasked and checked as it arrives; a message is handed
// out when it is whole, a large compressed one to be unpacked elsewhere. What a peer does wrong ends the connection with the
// close code that RFC 6455 section 7.4 gives it.
package ws
