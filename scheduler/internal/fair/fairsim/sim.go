package fairsim

import (
	"container/heap"
	"fmt"
	"math"

	"github.com/voicemill/voicemill/job"
)

// Policy decides who is next.
type Policy interface {
	Add(now float64, j *Job)                                    // a job arrives
	Report(now float64, p *Pool)                                // a worker says what it takes, each second
	Refill(now float64)                                         // a scheduler's step
	Call(now float64, p *Pool) (call []*Segment, again float64) // the next engine call, or when to ask again if nothing happens
	Done(now float64, p *Pool, g *Segment)
}

// Delay is from a result to the next release in a worker's hands.
const Delay = 0.02

// Pool is engines that do like work, and the calls that one worker makes of them.
type Pool struct {
	Name     string
	Worker   string // of the pool; each has engines of its own
	Items    int    // segments of a call
	Calls    int    // calls at once
	engine   Engine
	backends []*backend
	running  int     // calls
	window   int     // calls that the policy wants at once now
	waiting  int     // segments that arrived and are in no engine
	busy     float64 // calls that ran while segments waited, by time
	full     float64 // and those that should have run
	last     float64
	said     float64 // when the worker reported
	waits    bool    // a call for feed is planned
}

// Sim is pools under load.
type Sim struct {
	Now    float64
	OnDone func(*Segment)
	OnJob  func(*Job) // all segments of a job ended
	Pools  []*Pool
	policy Policy
	byName map[string]*Pool
	events events
	seq    int
	nudged bool
	served map[job.Tenant]float64
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
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

// New returns a simulation without a pool.
func New(policy Policy) *Sim {
	return &Sim{policy: policy, byName: map[string]*Pool{}, OnDone: func(*Segment) {}, OnJob: func(*Job) {}, served: map[job.Tenant]float64{}}
}

// Pool adds a worker with n backends.
func (s *Sim) Pool(name string, engine Engine, n int) *Pool {
	p := &Pool{Name: name, Worker: fmt.Sprint(len(s.Pools)), engine: engine, Items: 1, Calls: n * engine.Slots, said: math.Inf(-1)}
	if engine.static() {
		p.Items, p.Calls = engine.Slots, n
	}
	p.window = p.Calls
	for range n {
		p.backends = append(p.backends, &backend{engine: engine})
	}
	s.Pools = append(s.Pools, p)
	if s.byName[name] == nil {
		s.byName[name] = p
	}
	return p
}

// At plans a call.
func (s *Sim) At(at float64, do func()) {
	s.seq++
	heap.Push(&s.events, event{at, s.seq, do})
}

// Submit lets a job arrive in a pool now.
func (s *Sim) Submit(p *Pool, j *Job) {
	s.account(p)
	j.pool, j.Arrived = p.Name, s.Now
	p.waiting += j.Segments
	for _, other := range s.Pools {
		if other.Name == p.Name {
			s.report(other)
		}
	}
	s.policy.Add(s.Now, j)
	s.nudge()
	s.feed(p)
}

// report lets the worker of a pool say what it takes, each second while it has work.
func (s *Sim) report(p *Pool) {
	if s.byName[p.Name].waiting == 0 && p.running == 0 || s.Now < p.said+1 {
		return
	}
	p.said = s.Now
	s.policy.Report(s.Now, p)
	s.At(s.Now+1, func() {
		s.report(p)
		s.feed(p)
		s.nudge()
	})
}

// Run lets time pass until a moment, or until nothing is left to do.
func (s *Sim) Run(until float64) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := heap.Pop(&s.events).(event)
		s.Now = e.at
		e.do()
	}
	if !math.IsInf(until, 1) {
		s.Now = until
	}
	for _, p := range s.Pools {
		s.account(p)
	}
}

// Occupancy returns the part of the window that was busy while work waited.
func (p *Pool) Occupancy() float64 { return p.busy / p.full }

// account is called before anything changes in a pool.
func (s *Sim) account(p *Pool) {
	if dt := s.Now - p.last; dt > 0 && p.waiting > 0 {
		p.busy += dt * float64(min(p.running, p.window))
		p.full += dt * float64(p.window)
	}
	p.last = s.Now
}

// Served returns what a tenant was served until now in a pool, the parts of what is in engines included.
func (s *Sim) Served(p *Pool, tenant job.Tenant) float64 {
	sum := s.served[job.Tenant(p.Name)+"/"+tenant]
	for _, b := range p.backends {
		b.advance(s.Now)
		for _, g := range b.inside {
			if g.Job.Tenant == tenant {
				sum += b.served(s.Now, g)
			}
		}
	}
	return sum
}

// nudge makes the scheduler look, Delay later.
func (s *Sim) nudge() {
	if s.nudged {
		return
	}
	s.nudged = true
	s.At(s.Now+Delay, func() {
		s.nudged = false
		s.policy.Refill(s.Now)
		for _, p := range s.Pools {
			s.feed(p)
		}
	})
}

// feed starts the calls that are due, each in the emptiest engine.
func (s *Sim) feed(p *Pool) {
	s.account(p)
	if f, ok := s.policy.(*Fair); ok {
		defer f.watch(s.Now, p)
	}
	for p.running < p.Calls {
		call, again := s.policy.Call(s.Now, p)
		if len(call) == 0 {
			s.look(p, again)
			return
		}
		least := p.backends[0]
		for _, b := range p.backends {
			if len(b.inside) < len(least.inside) {
				least = b
			}
		}
		s.byName[p.Name].waiting -= len(call)
		p.running++
		for _, g := range call {
			g.started, g.share = s.Now, 1/float64(len(call))
		}
		s.watch(p, least, least.start(s.Now, call))
		for _, b := range p.backends {
			for _, g := range b.inside {
				g.beside = max(g.beside, p.running)
			}
		}
	}
}

// look makes a worker look at a pool later, whatever happens until then.
func (s *Sim) look(p *Pool, after float64) {
	if after <= 0 || p.waits {
		return
	}
	p.waits = true
	s.At(s.Now+max(after, 1e-3), func() {
		p.waits = false
		s.feed(p)
	})
}

func (s *Sim) watch(p *Pool, b *backend, at float64) {
	if math.IsInf(at, 1) {
		return
	}
	turn := b.turn
	s.At(at, func() {
		if b.turn != turn {
			return
		}
		s.account(p)
		done, again := b.end(s.Now)
		s.watch(p, b, again)
		p.running--
		if !b.engine.static() {
			p.running -= len(done) - 1
		}
		for _, g := range done {
			s.finish(p, g)
		}
		s.nudge()
		s.feed(p)
	})
}

func (s *Sim) finish(p *Pool, g *Segment) {
	s.served[job.Tenant(p.Name)+"/"+g.Job.Tenant] += g.Audio
	s.policy.Done(s.Now, p, g)
	s.OnDone(g)
	j := g.Job
	if !j.join {
		j.audio += g.Audio
	}
	if j.open--; j.open > 0 {
		return
	}
	if to := s.byName[Joins]; to != nil && !j.join && j.Segments > 1 {
		next := j.joins()
		next.whole = j
		s.Submit(to, next)
		return
	}
	if j.join {
		j = j.whole
	}
	s.OnJob(j)
}

// Joins is the name of the pool that joins what is spoken, if there is one.
const Joins = "joins"
