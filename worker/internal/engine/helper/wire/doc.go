// Package wire is the protocol between the worker and its helper
// processes, on a helper's standard input and output.
//
// Everything is a frame: a 4-byte big-endian length n, 1 to [MaxFrame], then n
// bytes, of which the first is the [Type].
//
//	helper → worker  'h' hello    JSON [Hello]; once, before anything else
//	worker → helper  'q' request  JSON [Request]
//	helper → worker  'a' audio    samples, mono signed 16-bit little endian
//	helper → worker  'e' events   17 bytes each: kind, position, length, sample
//	helper → worker  'd' done     JSON [Done]
//
// A request is answered by any number of audio and events frames and one done
// frame. The worker sends the next request after that; there is never more than
// one in flight. A helper that has read the end of its input exits at once,
// whatever it is doing, so no helper outlives its worker.
//
// Both ends come from one build; [Hello.Version] catches the case that they do
// not. Neither end trusts the other: a frame that breaks a rule is [ErrProtocol].
package wire
