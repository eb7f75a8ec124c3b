package edge

import "net/http"

// shareBytes is what every connection may hold however short memory is, so that
// shedding hits those that hold much.
const shareBytes = 64 << 10

// account brings the server's count of buffered bytes up to date with what the
// connection holds: input that is not a whole request, requests whose answers
// are due, answers that others must go before, and output that its peer has not
// taken. A connection that grows while the server is over its budget is shed.
func (c *conn) account() {
	if c.phase == phaseClosed {
		return
	}
	held := len(c.backlog) + c.queued
	if c.upload {
		held += ringBytes
	}
	if c.cur != nil {
		held += c.cur.req.Held()
	}
	if c.wire != nil {
		held += len(c.wire.b) - c.wireOff
	}
	grown := held - c.accounted
	if grown == 0 {
		return
	}
	c.accounted = held
	used := c.srv.stats.Buffered.Add(int64(grown))
	if grown < 0 || held <= shareBytes || used <= int64(c.srv.cfg.MaxBuffered) || c.phase == phaseLinger {
		return
	}
	c.srv.stats.ShedMemory.Add(1)
	if c.phase == phaseHTTP && c.cur != nil && c.wire == nil {
		c.answerRefusal(http.StatusServiceUnavailable, "The server is short of memory.")
		c.flush()
		return
	}
	c.close()
}
