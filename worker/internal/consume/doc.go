// Package consume brings work from the bus to an engine.
//
// A [Pool] serves one pool of engines. Two pullers, one for each class, ask the
// bus for as much as may still be in hand; one goroutine owns what waits, asks
// package batch what forms the next engine call, and starts it. What is in hand
// is bounded for each class apart, so a bulk backlog never keeps an interactive
// request out.
//
// A message is a bundle of segments. What is left of it stands in the database:
// a pull claims its bundles in one statement, which also notes that their
// deliveries begin. Calls are made out of the segments of many bundles. A bundle
// has one lease, which is kept alive and ends with its last segment.
//
//	bus ──pull──▶ claim ──▶ waiting ──batch.Decide──▶ Caller.Call ──▶ settled
//
// A delivery that began and neither settled nor was given back is a death. After
// two of them the segments of a bundle run alone, and one that is alone with two
// more has failed. What is given back is told to the database first, so that it
// counts as none; a message that WORK lost and got again is adopted by the bundle
// that is in hand already.
//
// While none of its engines is well ([Engines]) the pool gives back what waits and
// pulls nothing. When a call reports that the database or the bucket is away, it
// opens its circuit: it does the same for a while, then tries with a single item.
// When it is told to stop, it gives back at once what has not
// begun and lets the rest finish within the grace.
package consume
