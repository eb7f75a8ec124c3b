// Package http1 turns bytes into HTTP/1.1 requests and answers into bytes. It
// is pure: it owns no socket, no clock and no goroutine.
//
// A [Parser] is a resumable framer after RFC 9112. It takes whatever the
// network delivered, in pieces of any size, and reports one complete [Request]
// at a time. It is strict where two readers of the same bytes could disagree,
// because that disagreement is what request smuggling lives on:
//
//   - lines end in CRLF; a bare LF or CR is refused; folded lines are refused
//   - there is one framing: Transfer-Encoding beside Content-Length, a second
//     Content-Length, or anything but digits in it is refused
//   - the only transfer coding is chunked, once, on HTTP/1.1
//   - one Host on HTTP/1.1; header names are tokens, values have no controls
//
// A parser is idle (no byte of a message seen), in a head, in a body, or has left
// one: it has returned the request, whose body is read in pieces, see
// [Parser.LeaveBodies]. Everything it keeps has a limit, see [Limits], and every
// refusal is an [Error] with the status and the sentence for the client.
//
// A Request looks into the memory it was parsed from. It is valid until the
// next call of Parse with it; [Request.Detach] makes it independent.
package http1
