package edge

import (
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
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
func (c *conn) deadline() (at time.Duration, act func()) {
	at, act = c.readDeadline()
	sooner := func(t time.Duration, f func()) {
		if t > 0 && (at == 0 || t < at) {
			at, act = t, f
		}
	}
	if c.wire != nil {
		sooner(c.stalledAt+c.srv.cfg.WriteStall, c.cutStalled)
	}
	if c.lingerBy > 0 {
		sooner(c.lingerBy, c.close)
	}
	return at, act
}

func (c *conn) readDeadline() (time.Duration, func()) {
	cfg := &c.srv.cfg
	switch c.phase {
	case phaseSniff:
		return c.acceptedAt + cfg.HeadTimeout, c.close
	case phaseUpgraded:
		return c.upgraded.timerAt, c.upgraded.fire
	case phaseHTTP:
	default:
		return 0, nil
	}
	if c.eof || c.noMore {
		return c.answerDeadline()
	}
	switch c.stage {
	case http1.StageHead:
		return c.stageAt + cfg.HeadTimeout, c.late
	case http1.StageBody:
		return c.stageAt + cfg.BodyTimeout, c.late
	}
	if at, act := c.answerDeadline(); at > 0 {
		return at, act
	}
	if c.lastUse == c.acceptedAt {
		return c.acceptedAt + cfg.HeadTimeout, c.close
	}
	if c.loop.drained {
		return max(c.lastUse, c.loop.drainedAt) + cfg.DrainIdle, c.leaveIdle
	}
	return c.lastUse + cfg.IdleTimeout, c.leaveIdle
}

// answerDeadline is when the oldest request has waited too long for its answer.
func (c *conn) answerDeadline() (time.Duration, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil || c.first.streaming {
		return 0, nil
	}
	return c.first.readAt + c.srv.cfg.AnswerTimeout, c.unanswered
}

// expire runs when the wheel fires.
func (c *conn) expire() {
	defer c.rescue()
	if c.phase == phaseClosed {
		return
	}
	at, act := c.deadline()
	if at > 0 && at <= c.loop.clock {
		act()
		c.flush()
		return
	}
	c.loop.arm(c, at)
}

// late refuses a request that does not arrive.
func (c *conn) late() {
	c.srv.stats.Late.Add(1)
	c.refuse(&http1.Error{Status: http.StatusRequestTimeout, Public: "The request did not arrive in time."})
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

func (c *conn) cutStalled() {
	c.srv.stats.CutStalled.Add(1)
	c.close()
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
