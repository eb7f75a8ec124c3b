// Package edge owns the sockets of the gateway. It accepts connections, keeps
// them within limits, finds out which protocol each one speaks and hands whole
// requests to a [Handler]. It alone imports gnet.
//
// # Who runs where
//
// The accept loop is ours, on a [net.Listener] that may be inherited; gnet's
// own would stop the whole engine when descriptors run out. An accepted
// connection is enrolled in one of gnet's event loops, which from then on is
// the only goroutine that reads, writes, times or closes it. Of the loops that have
// taken the last one given to them it gets the one with the fewest connections, so
// that a busy loop keeps none waiting but its own. Handlers are called
// on that loop and must not block.
//
// Other goroutines reach a connection through its mailbox only: [Exchange.Respond]
// and [Conn.Write] append bytes under the connection's mutex and put the
// connection on its loop's ready list. The first entry of the list rings the
// loop's bell, one end of a socket pair that is enrolled like any connection, so
// however fast others write, the loop still takes turns between sockets.
//
// # Bytes
//
// Input is taken from gnet whole and parsed at once; what cannot be parsed yet,
// because too many answers are outstanding, waits in a bounded backlog. Output
// bypasses gnet's buffer, which has no limit and reports no room: the loop
// writes to the socket itself and, when the socket is full, waits for a
// [watcher] on a second epoll instance to report room. So an answer is never
// cut off by closing, and a peer that does not read is cut at a known size.
//
// # Turns
//
// How long a connection waits must not depend on how much others have to do. So a
// connection serves a few requests, then the rest of its input waits behind the
// other connections that are on the ready list; and the loop does a bounded amount
// of what is on the list, in connections, requests and bytes, before it looks at
// its sockets again. A connection whose peer sends more meanwhile leaves gnet as
// described below, so that nothing is read for which it has no turn.
//
// # Bodies read while they arrive
//
// A handler that is an [EarlyReader] may take a request when its head is complete
// and read the body from a [Body], whatever its size. gnet cannot be told to stop
// reading. So when the reader does not keep up, the connection leaves gnet with a
// duplicate of its descriptor: the watcher reports input there, and is asked only
// while there is room. The connection stays with its loop, so that parsing, TLS,
// time-outs and output are as before. After the answer it is enrolled anew.
//
// # Life of a connection
//
// A connection has one state at a time, and only these may follow; whatever else
// would be a bug of ours and ends the connection. A test holds the table against the
// code, and every test of the package against the table.
//
//	accepted  ─▶ proxied, sniffing, http, closed              │ not on its loop yet
//	proxied   ─▶ sniffing, http, closed                       │ the header of a load balancer comes first
//	sniffing  ─▶ handshake, http, upgraded, lingering, closed │ its first bytes tell what it speaks; TLS may fail meanwhile
//	handshake ─▶ sniffing, http, lingering, closed            │ a tlsLayer that is not steady
//	http      ─▶ upgraded, lingering, closed                  │ a parser, requests, a body under way
//	upgraded  ─▶ lingering, closed                            │ a Conn and its handler
//	lingering ─▶ closed                                       │ its last answer is out; input is discarded
//
// The connection is put together from parts: a transport (descriptor, wire, watcher),
// its turn among others, a reader (parser, body, backlog) and replies (the queue of
// answers, under the mutex).
//
// A client that shuts its sending side while answers are outstanding still gets
// them, for a bounded time: gnet closes its descriptor at end of input, the connection
// goes on with a duplicate. So it is after an upgrade if the protocol says that
// answers are due, see [EndHandler]. A connection that ends with input unread lingers: its last answer
// is sent, then input is discarded for a bounded time, because closing at once
// would reset the connection and destroy the answer on its way.
//
// # Limits
//
// Config bounds connections, requests in flight, backlog, output, handshakes and
// bodies under way, and what all connections buffer together; a body that is
// streamed waits in 64 KiB. At a limit the
// server waits (accept rate, requests in flight), sheds with 503 (connections,
// buffered bytes, bodies) or cuts the peer (backlog, stalled output,
// handshakes); [Stats] counts each.
//
// Time-outs come from a timer wheel per loop. A panic in a handler or a codec
// ends the connection it happened on.
package edge
