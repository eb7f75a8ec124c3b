// Package pgd runs a private Postgres server as a child of this process: it
// finds the programs, makes the database on first start, listens on a unix
// socket only, restarts a server that crashed, and leaves none behind.
//
// The child dies with its parent, however the parent ends: the kernel sends it
// a fast-shutdown signal (Pdeathsig), and a start that finds a server still
// shutting down waits for it. Postgres refuses to run as root, so under root it
// runs as another user, who owns the data directory.
//
// States of a [Server]: running, restarting (after a crash), stopped. [Server.Done]
// is closed in the last one.
package pgd
