package edge

import "time"

// slots is how many ticks a turn of the wheel has. Timers further away stay in
// their slot for several turns.
const slots = 512

// timer is one entry of a [wheel]. The zero value is not scheduled.
type timer[T any] struct {
	prev, next *timer[T]
	tick       int64 // when it fires
	owner      T
}

func (t *timer[T]) scheduled() bool { return t.next != nil }

// wheel is a hashed timer wheel. Scheduling and removing cost a few
// assignments. It has no clock: its owner calls advance. It is not safe for
// concurrent use.
type wheel[T any] struct {
	slots [slots]timer[T] // heads of circular lists
	tick  time.Duration   // how long a tick is
	now   int64           // ticks passed
	count int
}

func newWheel[T any](tick time.Duration) *wheel[T] {
	w := &wheel[T]{tick: tick}
	for i := range w.slots {
		h := &w.slots[i]
		h.prev, h.next = h, h
	}
	return w
}

// schedule makes t fire at the first advance to at or later. A time that has
// passed fires at the next tick. t may be scheduled already.
func (w *wheel[T]) schedule(t *timer[T], at time.Duration) {
	w.remove(t)
	t.tick = max(int64((at+w.tick-1)/w.tick), w.now+1)
	h := &w.slots[t.tick%slots]
	t.prev, t.next = h.prev, h
	h.prev.next = t
	h.prev = t
	w.count++
}

// remove unschedules t if it is scheduled.
func (w *wheel[T]) remove(t *timer[T]) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
	w.count--
}

// due reports whether t would fire no later than at.
func (w *wheel[T]) due(t *timer[T], at time.Duration) bool {
	return t.scheduled() && time.Duration(t.tick)*w.tick <= at+w.tick
}

// next returns when advance should be called next, or 0 if no timer is
// scheduled. Nothing is due before that, but nothing need be due then.
func (w *wheel[T]) next() time.Duration {
	if w.count == 0 {
		return 0
	}
	for t := w.now + 1; t < w.now+slots; t++ {
		if h := &w.slots[t%slots]; h.next != h {
			return time.Duration(t) * w.tick
		}
	}
	return time.Duration(w.now+slots) * w.tick
}

// advance moves the wheel to clock and calls fire for every timer that is due,
// unscheduled by then. fire may schedule and remove any timer.
func (w *wheel[T]) advance(clock time.Duration, fire func(T)) {
	to := int64(clock / w.tick)
	if w.count == 0 {
		w.now = max(w.now, to)
		return
	}
	if to-w.now > slots { // after a long pause one look at each slot is enough
		w.now = to - slots
	}
	for w.now < to {
		w.now++
		w.expire(&w.slots[w.now%slots], fire)
	}
}

// expire fires what is due in one slot. The list is taken off first, so that
// what fire schedules into the same slot is not visited.
func (w *wheel[T]) expire(h *timer[T], fire func(T)) {
	var due timer[T]
	due.prev, due.next = &due, &due
	for t := h.next; t != h; {
		next := t.next
		if t.tick <= w.now {
			t.prev.next, t.next.prev = t.next, t.prev
			t.prev, t.next = due.prev, &due
			due.prev.next = t
			due.prev = t
		}
		t = next
	}
	for due.next != &due {
		t := due.next
		w.remove(t)
		fire(t.owner)
	}
}
