package edge

import "sync"

// replies are the answers of a connection on their way out, in the order of their
// requests. Everybody may reach them, under mu.
type replies struct {
	mu          sync.Mutex
	buffers     *buffers
	out         *buffer   // answers in order, not yet on the wire
	raw         *buffer   // output of a handshake
	first       *Exchange // requests that await their answers, oldest first
	last        *Exchange
	inFlight    int
	queuedBytes int                     // of requests that await their answers
	parkedBytes int                     // of answers that others must go before
	parkedTold  int                     // of these, as the loop knows
	busy        bool                    // the loop is working on this connection and will flush it
	leave       bool                    // close when everything is sent
	cut         bool                    // and at once
	gone        bool                    // closed
	onRoom      []func()                // told once when everything is sent
	switchTo    func(*Conn) ConnHandler // takes over from HTTP once the 101 is queued
	pending     int                     // bytes in wire
}

// queue puts a request behind the others.
func (r *replies) queue(ex *Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = true
	r.inFlight++
	if r.last == nil {
		r.first = ex
	} else {
		r.last.next = ex
	}
	r.last = ex
}

// advanceLocked sends every answer that is next in line.
func (r *replies) advanceLocked() {
	for ex := r.first; ex != nil; ex = r.first {
		if ex.buf != nil {
			out := r.outLocked()
			out.b = append(out.b, ex.buf.b...)
			r.unparkLocked(ex)
		}
		if ex.state != exchangeAnswered {
			return
		}
		ex.state = exchangeDone
		r.first, ex.next = ex.next, nil
		if r.first == nil {
			r.last = nil
		}
		r.inFlight--
		r.queuedBytes -= ex.held
		if ex.switchTo != nil {
			r.switchTo = ex.switchTo
		}
		if ex.closes {
			r.leave, r.cut = true, r.cut || ex.cuts
			return
		}
	}
}

// parkLocked counts what waits for the answers before it. It reports whether that
// has become so much that the loop must be told.
func (r *replies) parkLocked(ex *Exchange) (wake bool) {
	if ex.buf == nil {
		return false
	}
	r.parkedBytes += len(ex.buf.b) - ex.parked
	ex.parked = len(ex.buf.b)
	return r.parkedBytes-r.parkedTold >= parkedStep
}

// unparkLocked lets go of an answer's memory when it is sent or lost.
func (r *replies) unparkLocked(ex *Exchange) {
	r.parkedBytes -= ex.parked
	r.buffers.put(ex.buf)
	ex.buf, ex.parked = nil, 0
}

// bufferLocked returns where an answer goes: straight out if it is due.
func (r *replies) bufferLocked(ex *Exchange) *buffer {
	if r.first == ex {
		return r.outLocked()
	}
	if ex.buf == nil {
		ex.buf = r.buffers.get()
	}
	return ex.buf
}

func (r *replies) outLocked() *buffer {
	if r.out == nil {
		r.out = r.buffers.get()
	}
	return r.out
}

// pendingLocked is how much the peer has not taken.
func (r *replies) pendingLocked() int {
	n := r.pending
	if r.out != nil {
		n += len(r.out.b)
	}
	return n
}

// lastOne closes the connection after the last answer that is due.
func (r *replies) lastOne() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.leave = true
	} else {
		r.last.closes = true
	}
}

// askRoomLocked keeps f until everything is sent.
func (r *replies) askRoomLocked(f func()) bool {
	if r.gone || r.pendingLocked() == 0 {
		return false
	}
	r.onRoom = append(r.onRoom, f)
	return true
}

// roomLocked wakes a stream that waits for its peer.
func (r *replies) roomLocked() {
	if ex := r.first; ex != nil && ex.room != nil && r.pendingLocked() < bodyLow {
		close(ex.room)
		ex.room = nil
	}
}
