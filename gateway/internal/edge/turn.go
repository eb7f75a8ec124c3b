package edge

// A loop takes turns between connections. What follows bounds a turn, so that
// how long one connection waits does not depend on how much the others have to
// do.
const (
	// turnRequests is how many requests of a connection are served before others
	// get their turn. Few clients send more of them at once.
	turnRequests = 32

	// turnEffort is how much of what happened elsewhere the loop sees to at least
	// before it looks at its sockets again. It is about 100 µs of work. What is left
	// then gets as much as the sockets just had: else those who wait for an answer
	// from elsewhere would starve while sockets have something all the time.
	turnEffort  = 64
	effortBytes = 2 << 10 // read or written are as much as one request, or one connection that is looked after
)

// spend notes that a turn has moved n bytes.
func (l *loop) spend(n int) { l.effort += n / effortBytes }

// begin starts a turn of what happened elsewhere, end ends it. After one that
// left something, the sockets were looked at once.
func (l *loop) begin() {
	l.share = turnEffort
	if l.turned > 0 {
		l.share = max(l.share, l.effort)
	}
	l.effort = 0
}

func (l *loop) end() { l.effort = 0 }

// turnOver reports whether the sockets must be looked at before anything else is
// done.
func (l *loop) turnOver() bool { return l.effort >= l.share }

// turn is the fairness between connections, as one of them has it.
type turn struct {
	served int  // requests in this turn
	waits  bool // for its next turn, with requests in the backlog
	ahead  bool // it sent more while it waited
	more   bool // and has not stopped, as far as is known
}

// beginTurn lets the connection serve requests again.
func (t *turn) beginTurn() { t.served, t.waits = 0, false }

// serve notes that a request was served.
func (t *turn) serve() {
	if t.served++; t.served >= turnRequests {
		t.waits = true
	}
}

// offered notes input: a connection that does not wait has its turn.
func (t *turn) offered() {
	if t.waits {
		t.ahead = true
	} else {
		t.beginTurn()
	}
}

// handled notes that a request was served.
func (c *conn) handled() {
	c.loop.effort++
	c.turn.serve()
}

// endTurn has a connection whose turn is over wait for the next one, behind all
// that are waiting already.
func (c *conn) endTurn() {
	switch {
	case !c.waits || c.phase == phaseClosed:
	case len(c.backlog) == 0:
		c.waits = false
	default:
		c.loop.notify(c, noteTurn)
	}
}
