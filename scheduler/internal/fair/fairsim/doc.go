// Package fairsim runs the order of release in virtual time: jobs arrive,
// engines take segments, hours pass in a moment. It is what the proofs of
// package fair and `make bench-fair` run on; nothing of the product uses it.
//
//	Engine   a backend: continuous (every segment in flight progresses at
//	         1/(alpha + beta n) seconds of audio a second) or static (a call of
//	         a batch takes a + b longest + c sum)
//	Policy   who is next: Fair is package fair with what it needs around it;
//	         FIFO, RoundRobin and Quiet are what others do, on the same trace.
//	Sim      the loop of events. What Fair releases reaches the workers Delay
//	         later; the others are asked at the moment that an engine is free,
//	         which no real queue can do better.
//
// The curves are those that CosyVoice's authors published for an L20, and fits
// of them: alpha 0.055, beta 0.064; a 0.32, b 0.073, c 0.034. Segments take
// their predicted audio times a lognormal error of 0.15.
package fairsim
