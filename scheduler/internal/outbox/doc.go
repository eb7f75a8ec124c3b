// Package outbox sends the joins of chapters and the ends of jobs, which a
// state change in Postgres made due, to the workers.
//
// It is the same bargain as the release of segments: a row is marked first and
// published afterwards, at most a window of them is out, and what was marked
// but not published is published again by a sweep. A message that is there
// already is refused by the stream.
package outbox
