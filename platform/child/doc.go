// Package child runs programs that do one thing for a process of ours and end
// with it: they read requests on standard input and answer on standard output.
//
// The parent owns the two pipes and the process. A child gets no environment but
// the one it is given; what it says on standard error is kept, the last of it,
// for the message that tells how it failed. It is expected to exit at the end of
// its input; one that does not is killed, and on Linux the kernel kills it when
// the parent dies.
package child
