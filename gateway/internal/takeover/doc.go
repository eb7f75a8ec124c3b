// Package takeover hands listening sockets from one process of the gateway to
// the next, so that a new binary serves without a connection being refused.
//
// The old process starts the new one with its sockets as inherited descriptors
// and a pipe. Both ends of the hand-over share one accept queue: what has
// connected and was not accepted yet is accepted by whoever does so next. The
// new process writes to the pipe once it serves; only then does the old one
// close its copies and drain. If the new process ends or takes too long
// instead, the old one goes on as if nothing had happened.
//
// A secret, such as the keys of TLS session tickets, goes over a pipe of its own,
// so that neither the environment nor the arguments of the new process have it.
//
// Sockets may come from systemd (socket activation), too.
package takeover
