// Package owned runs engines as processes of the worker's own: it starts them, has
// them prove themselves, and replaces those that are worn or dead.
//
// An [Engine] stands for one place in a fleet. What is in that place changes:
//
//	(none) ──start, canary spoken──▶ serving ──died, or Restart──▶ (none), after a pause
//	   ▲                                │ ├──worn──▶ replaced: the new one proves itself first
//	   └──wanted── asleep ◀──idle───────┘ │           where there is room for both
//
// Who is sick is the fleet's business, which calls [Engine.Restart]. While there is
// nothing in the place, requests are refused at once with [engine.ErrStarting], and
// the fleet is woken when there is. The engines of one command take turns in being
// started and replaced, so that at most one of them is away or in memory twice.
//
// One goroutine owns a place and its processes, from New to Close.
package owned
