package edge

import (
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// action is what a deadline leads to.
type action uint8

const (
	actNone action = iota
	actClose
	actLate       // refuse a request that does not arrive
	actUnanswered // answer in place of the handler
	actLeave      // end an idle connection
	actStalled    // cut a peer that does not read
	actSlow       // or reads drop by drop
	actTimer      // call the protocol's timer
)

// arm puts the connection's next deadline on the wheel.
func (c *conn) arm() {
	if c.phase != phaseClosed {
		at, _ := c.deadline()
		c.loop.arm(c, at)
	}
}

// deadline returns the next time at which something is due, and what to do
// then. 0 means never.
func (c *conn) deadline() (at time.Duration, act action) {
	at, act = c.readDeadline()
	if c.wire != nil {
		at, act = sooner(at, act, c.stallDeadline(), actStalled)
		if c.pace.since > 0 {
			at, act = sooner(at, act, c.pace.since+c.srv.cfg.WriteWindow, actSlow)
		}
	}
	if c.lingerBy > 0 {
		at, act = sooner(at, act, c.lingerBy, actClose)
	}
	return at, act
}

// stallDeadline is when a peer that does not take its output has had enough time.
// A server that drains has less of it.
func (c *conn) stallDeadline() time.Duration {
	at := c.stalledAt + c.srv.cfg.WriteStall
	if c.loop.drained {
		at = min(at, max(c.stalledAt, c.loop.drainedAt)+c.srv.cfg.DrainStall)
	}
	return at
}

func sooner(at time.Duration, act action, other time.Duration, otherAct action) (time.Duration, action) {
	if other > 0 && (at == 0 || other < at) {
		return other, otherAct
	}
	return at, act
}

func (c *conn) readDeadline() (time.Duration, action) {
	cfg := &c.srv.cfg
	switch c.phase {
	case phaseSniff, phaseProxy:
		if c.loop.drained && len(c.backlog) == 0 {
			return max(c.acceptedAt, c.loop.drainedAt) + cfg.DrainIdle, actClose
		}
		return c.acceptedAt + cfg.HeadTimeout, actClose
	case phaseHandshake:
		return c.stageAt + cfg.HandshakeTimeout, actClose
	case phaseUpgraded:
		return c.upgraded.timerAt, actTimer
	case phaseHTTP:
	default:
		return 0, actNone
	}
	if c.body != nil {
		return c.bodyDeadline()
	}
	if c.eof || c.noMore {
		return c.answerDeadline()
	}
	if c.stage == http1.StageHead {
		return c.stageAt + cfg.HeadTimeout, actLate
	}
	if c.stage == http1.StageBody {
		return c.stageAt + cfg.BodyTimeout, actLate
	}
	if at, act := c.answerDeadline(); at > 0 {
		return at, act
	}
	if c.wire != nil {
		return 0, actNone // it is not idle before its answers are out
	}
	if c.loop.drained {
		return max(c.lastUse, c.loop.drainedAt) + cfg.DrainIdle, actLeave
	}
	if c.lastUse == c.acceptedAt {
		return c.acceptedAt + cfg.HeadTimeout, actClose
	}
	return c.lastUse + cfg.IdleTimeout, actLeave
}

// answerDeadline is when the oldest request has waited too long for its answer.
func (c *conn) answerDeadline() (time.Duration, action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil || c.first.begun {
		return 0, actNone
	}
	return c.first.readAt + c.srv.cfg.AnswerTimeout, actUnanswered
}

// expire runs when the wheel fires.
func (c *conn) expire() {
	defer c.rescue()
	if c.phase == phaseClosed {
		return
	}
	at, act := c.deadline()
	if at == 0 || at > c.loop.clock {
		c.loop.arm(c, at)
		return
	}
	switch act {
	case actNone:
	case actClose:
		c.close()
	case actLate:
		c.late()
	case actUnanswered:
		c.unanswered()
	case actLeave:
		c.leaveIdle()
	case actStalled:
		c.stalledOut()
	case actSlow:
		c.slowOut()
	case actTimer:
		c.upgraded.fire()
	}
	c.flush()
}

// stalledOut cuts a peer that takes nothing. What its kernel has taken since the
// last write counts: a large socket reports room only when much of it is free.
func (c *conn) stalledOut() {
	if c.pace.look(c.fd, c.loop.clock) {
		c.stalledAt = c.loop.clock
		return
	}
	c.srv.stats.CutStalled.Add(1)
	c.close()
}

// slowOut cuts a peer that took too little in the time for which output waited
// for it, or gives it as much time again.
func (c *conn) slowOut() {
	cfg := &c.srv.cfg
	c.pace.look(c.fd, c.loop.clock)
	took := c.pace.seen - c.pace.from
	if float64(took) < float64(cfg.WriteRate)*(c.loop.clock-c.pace.since).Seconds() {
		c.srv.stats.CutStalled.Add(1)
		c.close()
		return
	}
	c.pace.since, c.pace.from = c.loop.clock, c.pace.seen
}

// late refuses a request that does not arrive.
func (c *conn) late() {
	c.srv.stats.Late.Add(1)
	if c.body != nil {
		c.failBody(errLate)
		return
	}
	c.refuse(errLate)
}

// unanswered answers in place of a handler that does not.
func (c *conn) unanswered() {
	c.mu.Lock()
	ex := c.first
	c.mu.Unlock()
	if ex != nil {
		c.srv.stats.Unanswered.Add(1)
		ex.giveUp()
	}
}

// leaveIdle closes a connection that waits for its next request. The sending
// side goes first: a request that is on its way meets an orderly end, not a reset.
func (c *conn) leaveIdle() {
	c.discards++ // so that finish lingers
	c.mu.Lock()
	c.leave = true
	c.mu.Unlock()
}

// drain runs once on every connection when the server stops.
func (c *conn) drain() {
	defer c.rescue()
	if c.phase == phaseUpgraded {
		c.upgraded.drain()
	}
	c.flush()
}
