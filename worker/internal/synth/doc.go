// Package synth carries out engine calls: it asks the database what is still
// wanted, lets the engine speak that, judges what it said, and has it delivered.
//
// Who pays for a failure is the point here. An item that failed by itself pays
// one of its attempts. A call that failed as a whole is taken apart, in halves
// and at last one by one, without charging anybody, until the item that broke
// it fails alone. An engine that is away or full charges nobody at all: its
// items go back to the bus, and the pool pauses.
package synth
