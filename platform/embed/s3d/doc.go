// Package s3d runs an S3 server inside this process over a folder of files:
// objects are plain files below objects/<bucket>/.
//
// What it answers with success is on disk: the file and the directory entries
// that lead to it are synced before the answer, and of an object that came in one
// request the answer tells the checksum of what is there. It keeps objects whole: a
// reader sees the old object or the new one. It speaks the part of S3 that
// package blob uses (objects, conditional puts, ranges, listings, multipart
// uploads, presigned URLs) and answers NotImplemented to the rest.
//
// Clients come through a door of ours: requests must be told and their bodies must
// move within limits of time, and no address holds more than its share of the
// connections. This process has ways of its own: what it puts, gets and heads is
// answered without a connection ([Server.Direct]), and the rest comes over a socket in
// the data directory ([Server.InProcessConn]).
//
// One server a process and one process a folder: the first is a limit of the
// library below, the second is enforced with a lock. The library expects to
// have changed the working directory of the process into its root; this
// package gives it absolute paths instead, so the working directory stays.
package s3d
