// Package backlog says how much work waits for each pool, and how many replicas
// are wanted for it. A replica is a worker process with what it drives, so the
// unit of work is the second of one replica's engines: a GPU-second where each
// has one GPU.
//
// Everything in it is pure but for [Meter], which remembers what workers tell.
package backlog
