package api

import (
	"log/slog"
	"time"
)

// stage is what a call waits for or is busy with. It is in one at a time.
type stage uint8

const (
	stageLoop   stage = iota // an event loop: key, limits, and what is answered from memory
	stageQueue               // a free goroutine of the pool
	stageAuth                // Postgres or the issuer, who tell whose key or token it is
	stageWork                // the handler where it may block: Postgres, the bucket, a body on its way
	stageCommit              // the acknowledgement of the envelope with its job
	stageHold                // a change of a job
	stageSend                // the client, who takes an answer that comes in pieces
	stages
)

// clock is how long a call was in each stage. Whoever has the call may turn it:
// one goroutine at a time, until the answer.
type clock struct {
	stage stage
	since time.Duration // after the call had started
	took  [stages]time.Duration
}

// enter says that another stage begins.
func (c *Call) enter(s stage) {
	now := time.Since(c.Started)
	c.clock.took[c.clock.stage] += now - c.clock.since
	c.clock.stage, c.clock.since = s, now
}

// Sending says that the answer has begun and goes on. Carriers call it where
// they begin one that comes in pieces.
func (c *Call) Sending() { c.enter(stageSend) }

// Stages returns, for the access log, how long the call has spent on what when it
// is over after took; the parts come to took. It is empty, which a log leaves
// out, for a call that was answered on the loop.
func (c *Call) Stages(took time.Duration) slog.Attr {
	if c.clock.stage == stageLoop {
		return slog.Attr{}
	}
	parts := make([]slog.Attr, 0, stages)
	for s, name := range [stages]string{"loop", "queue", "auth", "work", "commit", "hold", "send"} {
		d := c.clock.took[s]
		if stage(s) == c.clock.stage { //nolint:gosec // a handful
			d += took - c.clock.since
		}
		if d > 0 {
			parts = append(parts, slog.Duration(name, d))
		}
	}
	return slog.GroupAttrs("stages", parts...)
}
