// Package consume brings work from the bus to an engine.
//
// A [Pool] serves one pool of engines. Two pullers, one for each class, ask the
// bus for as much as may still be in hand; one goroutine owns what waits, asks
// package batch what forms the next engine call, and starts it. What is in hand
// is bounded for each class apart, so a bulk backlog never keeps an interactive
// request out. Every message in hand has a lease that is kept alive.
//
//	bus ──pull──▶ waiting ──batch.Decide──▶ Caller.Call ──▶ settled
//
// When a call reports that something it depends on is away, the pool opens its
// circuit: it gives back what waits, pulls nothing for a while, then tries with
// a single item. When it is told to stop, it gives back at once what has not
// begun and lets the rest finish within the grace.
package consume
