// Package fairsim runs the order of release in virtual time: jobs arrive,
// engines take segments, hours pass in a moment. It is what the proofs of
// package fair and `make bench-fair` run on; nothing of the product uses it.
//
//	Engine   a backend: continuous (every segment in flight progresses at
//	         1/(alpha + beta n) seconds of audio a second) or static (a call
//	         takes a + b longest + c sum, and ends as a whole)
//	Policy   who is next: Fair is package fair with what it has around it, the
//	         leader's cursors and the worker's window; FIFO, RoundRobin and Quiet
//	         are what others do, on the same trace
//	Sim      the loop of events: arrivals, ends of segments, a worker's report
//	         each second, a scheduler's step Delay after something happened
//	Pool     backends that do like work; jobs of several segments go on to the
//	         pool of joins if there is one
//
// What Fair releases reaches the worker Delay after what made room for it; the
// others are asked at the moment that an engine is free, which no real queue can
// do better. worker.go does what packages consume and batch of a worker do, by
// the same rules with the same figures. Where a pool has several workers, the
// first one takes all that it has room for, then the next: the worst that a bus
// may do.
//
// The curves are those that CosyVoice's authors published for an L20, and fits
// of them: alpha 0.055, beta 0.064; a 0.32, b 0.073, c 0.034. Segments take
// their predicted audio times a lognormal error of 0.15.
package fairsim
