// Package lease keeps what the bus lent to this worker.
//
// A message that was pulled belongs to the worker for the bus's ack wait only;
// each sign of life renews that. A [Keeper] gives one for everything in hand
// every few seconds. It stops for a message that is held longer than its hard
// deadline: whoever holds it has hung, and the bus shall give it to somebody
// else. What the late holder still writes is fenced off in the database.
//
// A [Lease] is settled once, by Ack or Nak, whichever comes first.
package lease
