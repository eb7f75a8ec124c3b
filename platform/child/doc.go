// Package child runs programs that do one thing for a process of ours and end
// with it: they read requests on standard input and answer on standard output.
//
// The parent owns the two pipes and the process. A child gets no environment but
// the one it is given; what it says on standard error is kept, the last of it,
// for the message that tells how it failed. It is expected to exit at the end of
// its input; one that does not is killed, and on Linux the kernel kills it when
// the parent dies.
//
// A server that the parent starts is a child, too, with what [Server] says: it is
// asked to end by a signal, all that it says goes to a writer, and on Linux what it
// started itself ends with it, except when the parent is killed.
package child
