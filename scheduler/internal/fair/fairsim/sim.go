package fairsim

import (
	"container/heap"
	"math"

	"github.com/voicemill/voicemill/job"
)

// Segment is one segment on its way.
type Segment struct {
	Tenant   job.Tenant
	Job      job.ID
	Class    job.Class
	Pred     float64 // seconds of audio
	Audio    float64 // what it becomes
	Arrived  float64
	key      int64
	progress float64
}

// Engine is the pace of a backend.
type Engine struct {
	Slots       int     // segments in flight, or of a batch
	Alpha, Beta float64 // continuous
	A, B, C     float64 // static, if C is positive
}

// Continuous is an L20 that batches by itself.
func Continuous() Engine { return Engine{Slots: 8, Alpha: 0.055, Beta: 0.064} }

// Even is the same engine as if it were full at all times: a segment takes as
// long beside seven others as alone, so what a job takes longer under load is
// what it waited.
func Even() Engine { return Engine{Slots: 8, Alpha: 0.055 + 8*0.064} }

// Static is an L20 that takes batches of 16 and answers them as a whole.
func Static() Engine { return Engine{Slots: 16, A: 0.32, B: 0.073, C: 0.034} }

// Static reports whether a call ends as a whole.
func (e Engine) static() bool { return e.C > 0 }

// Rate returns seconds of audio a second when every slot is taken by segments of mean length.
func (e Engine) Rate(mean float64) float64 {
	n := float64(e.Slots)
	if e.static() {
		return n * mean / (e.A + e.B*mean + e.C*n*mean)
	}
	return n / (e.Alpha + e.Beta*n)
}

// Policy decides who is next.
type Policy interface {
	Add(now float64, segments []*Segment) // of one job, in reading order
	Pull(now float64, batch []*Segment) *Segment
	Refill(now float64)
	Done(now float64, s *Segment)
}

// Sim is a pool under load.
type Sim struct {
	Now       float64
	OnDone    func(*Segment)
	policy    Policy
	engine    Engine
	backends  []*backend
	events    events
	seq       int
	delay     float64
	refilling bool
	waiting   int // arrived and not in an engine
	busyTime  float64
	fullTime  float64 // slots that should have been busy
	last      float64
}

type backend struct {
	inside []*Segment
	since  float64
	turn   int
}

type event struct {
	at  float64
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is for container/heap.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop is for container/heap.
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// New returns a pool of n backends. What a policy releases takes delay seconds.
func New(engine Engine, n int, delay float64, policy Policy) *Sim {
	s := &Sim{policy: policy, engine: engine, delay: delay, OnDone: func(*Segment) {}}
	for range n {
		s.backends = append(s.backends, &backend{})
	}
	return s
}

// At plans a call.
func (s *Sim) At(at float64, do func()) {
	s.seq++
	heap.Push(&s.events, event{at, s.seq, do})
}

// Submit lets a job arrive now.
func (s *Sim) Submit(segments []*Segment) {
	for _, g := range segments {
		g.Arrived = s.Now
	}
	s.account()
	s.waiting += len(segments)
	s.policy.Add(s.Now, segments)
	s.refill()
}

// Run lets time pass until a moment, or until nothing is left to do.
func (s *Sim) Run(until float64) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := heap.Pop(&s.events).(event)
		s.account()
		s.Now = e.at
		s.account()
		e.do()
	}
	if !math.IsInf(until, 1) {
		s.Now = until
		s.account()
	}
}

// Occupancy returns the part of the slots that was busy while work waited.
func (s *Sim) Occupancy() float64 { return s.busyTime / s.fullTime }

func (s *Sim) account() {
	dt := s.Now - s.last
	s.last = s.Now
	if dt <= 0 || s.waiting == 0 {
		return
	}
	for _, b := range s.backends {
		if s.engine.static() && len(b.inside) > 0 {
			s.busyTime += dt * float64(s.engine.Slots)
		} else {
			s.busyTime += dt * float64(len(b.inside))
		}
		s.fullTime += dt * float64(s.engine.Slots)
	}
}

func (s *Sim) refill() {
	if s.refilling {
		return
	}
	s.refilling = true
	s.At(s.Now+s.delay, func() {
		s.refilling = false
		s.policy.Refill(s.Now)
		s.feed()
		if f, ok := s.policy.(*Fair); ok {
			f.watch()
		}
	})
}

// feed fills free slots, the emptiest engine first.
func (s *Sim) feed() {
	for {
		var free *backend
		for _, b := range s.backends {
			room := len(b.inside) < s.engine.Slots
			if s.engine.static() {
				room = len(b.inside) == 0
			}
			if room && (free == nil || len(b.inside) < len(free.inside)) {
				free = b
			}
		}
		if free == nil || !s.start(free) {
			return
		}
	}
}

func (s *Sim) start(b *backend) bool {
	if !s.engine.static() {
		g := s.policy.Pull(s.Now, nil)
		if g == nil {
			return false
		}
		s.advance(b)
		b.inside = append(b.inside, g)
		s.waiting--
		s.plan(b)
		return true
	}
	longest, sum := 0.0, 0.0
	for len(b.inside) < s.engine.Slots {
		g := s.policy.Pull(s.Now, b.inside)
		if g == nil {
			break
		}
		b.inside = append(b.inside, g)
		s.waiting--
		longest, sum = max(longest, g.Audio), sum+g.Audio
	}
	if len(b.inside) == 0 {
		return false
	}
	s.At(s.Now+s.engine.A+s.engine.B*longest+s.engine.C*sum, func() {
		done := b.inside
		b.inside = nil
		s.finish(done)
	})
	return true
}

func (s *Sim) pace(b *backend) float64 {
	return 1 / (s.engine.Alpha + s.engine.Beta*float64(len(b.inside)))
}

func (s *Sim) advance(b *backend) {
	step := (s.Now - b.since) * s.pace(b)
	b.since = s.Now
	for _, g := range b.inside {
		g.progress += step
	}
}

// plan looks ahead to the next segment that ends in a continuous engine.
func (s *Sim) plan(b *backend) {
	b.turn++
	turn, least := b.turn, math.Inf(1)
	for _, g := range b.inside {
		least = min(least, g.Audio-g.progress)
	}
	if math.IsInf(least, 1) {
		return
	}
	s.At(s.Now+max(0, least)/s.pace(b), func() {
		if b.turn != turn {
			return
		}
		s.advance(b)
		var done, left []*Segment
		for _, g := range b.inside {
			if g.Audio-g.progress < 1e-9 {
				done = append(done, g)
			} else {
				left = append(left, g)
			}
		}
		b.inside = left
		s.plan(b)
		s.finish(done)
	})
}

func (s *Sim) finish(done []*Segment) {
	for _, g := range done {
		s.policy.Done(s.Now, g)
		s.OnDone(g)
	}
	s.refill()
	s.feed()
}
