// Package stage measures what a call waits for or is busy with, for the access log.
// A call is in one stage at a time, and its [Clock] is turned by whoever has the
// call: one goroutine at a time, until the answer. A context carries the clock to
// what a call waits in.
package stage

import (
	"context"
	"log/slog"
	"time"
)

// Stage is one of them.
type Stage uint8

// The stages.
const (
	Loop   Stage = iota // an event loop: what is answered from memory
	Queue               // a turn to ask Postgres
	Auth                // Postgres or the issuer, who tell whose key or token it is
	Work                // a goroutine of the call's: checks, Postgres, the bucket, a body on its way
	Commit              // the acknowledgement of the envelope with its job
	Hold                // a change of a job
	Send                // the client, who takes an answer that comes in pieces
	stages
)

// Clock is how long a call was in each stage. The zero value is one that was never
// started and counts nothing; see [Clock.Start].
type Clock struct {
	began time.Time
	stage Stage
	since time.Duration // after the call had begun
	took  [stages]time.Duration
}

// Start says that the call began then, on an event loop.
func (c *Clock) Start(began time.Time) { *c = Clock{began: began} }

// Turn says that another stage begins, and returns the one that ends.
func (c *Clock) Turn(s Stage) (before Stage) {
	before = c.stage
	now := time.Since(c.began)
	c.took[before] += now - c.since
	c.stage, c.since = s, now
	return before
}

type key struct{}

// With returns a context that carries the clock; nil is none, for what several
// goroutines do.
func With(ctx context.Context, c *Clock) context.Context { return context.WithValue(ctx, key{}, c) }

// Enter turns the clock that ctx carries, if it carries one, and returns what turns
// it back.
func Enter(ctx context.Context, s Stage) (leave func()) {
	c, _ := ctx.Value(key{}).(*Clock)
	if c == nil {
		return func() {}
	}
	before := c.Turn(s)
	return func() { c.Turn(before) }
}

// Attr returns how long the call has spent on what when it is over after took; the
// parts come to took. It is empty, which a log leaves out, for a call that was
// answered on the loop.
func (c *Clock) Attr(took time.Duration) slog.Attr {
	if c.stage == Loop {
		return slog.Attr{}
	}
	parts := make([]slog.Attr, 0, stages)
	for s, name := range [stages]string{"loop", "queue", "auth", "work", "commit", "hold", "send"} {
		d := c.took[s]
		if Stage(s) == c.stage { //nolint:gosec // a handful
			d += took - c.since
		}
		if d > 0 {
			parts = append(parts, slog.Duration(name, d))
		}
	}
	return slog.GroupAttrs("stages", parts...)
}
