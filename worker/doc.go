// Package worker is the service that turns released segments into audio: it
// pulls work from the bus, has engines speak it, judges and stores what they
// said, joins chapters and ends jobs. [Run] is the whole of it; everything else
// is under internal.
//
// Any number of workers may run, each with the pools of engines it is
// configured for. None of them holds anything that is not in Postgres, the
// bucket or the bus, so any of them may die at any time.
package worker
