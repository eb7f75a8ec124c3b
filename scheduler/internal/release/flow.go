package release

import (
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const (
	flowFades  = 0.98 // weight of what was before, a round of estimates: some minutes
	flowKnown  = 15.0 // seconds of work from which on a pool's speed is believed
	leastShare = 1e-3 // of a pool's work: a tenant that sent less of late is forgotten
)

// flows are what comes into pools and what is done there, of late.
type flows struct {
	at    time.Time
	pools map[string]*flow
}

// flow is one pool's, in predicted seconds of audio; all sums fade.
type flow struct {
	seconds float64 // of time
	live    float64 // interactive work that came
	bulk    map[job.Tenant]fair.Stream
	done    float64 // since the last round
	spoken  float64 // while work waited
	busy    float64 // seconds in which it did
	waited  bool    // work did at the last round
}

func (f *flows) of(pool string) *flow {
	p := f.pools[pool]
	if p == nil {
		p = &flow{bulk: map[job.Tenant]fair.Stream{}}
		f.pools[pool] = p
	}
	return p
}

// came notes a job that was just planned.
func (f *flows) came(q *store.Queue) {
	p := f.of(q.Pool)
	if q.Class == job.Interactive {
		p.live += q.Seconds
		return
	}
	s := p.bulk[q.Tenant]
	p.bulk[q.Tenant] = fair.Stream{Cost: s.Cost + q.Seconds, Jobs: s.Jobs + 1}
}

// ended notes work that is done.
func (f *flows) ended(pool string, seconds float64) { f.of(pool).done += seconds }

// fade begins a round: what was before counts less.
func (f *flows) fade(now time.Time, waits map[string]bool) {
	passed := now.Sub(f.at).Seconds()
	f.at = now
	for name, p := range f.pools {
		if waits[name] && p.waited {
			p.spoken, p.busy = flowFades*p.spoken+p.done, flowFades*p.busy+passed
		}
		p.waited, p.done = waits[name], 0
		p.seconds, p.live = flowFades*p.seconds+passed, flowFades*p.live
		for tenant, s := range p.bulk {
			if s.Cost *= flowFades; s.Cost < leastShare*p.spoken {
				delete(p.bulk, tenant)
				continue
			}
			s.Jobs *= flowFades
			p.bulk[tenant] = s
		}
	}
}

// expect is what a forecast takes for granted of a pool.
func (f *flows) expect(pool string) (e fair.Expect) {
	p := f.pools[pool]
	if p == nil || p.seconds <= 0 {
		return e
	}
	if p.busy >= flowKnown {
		e.Rate = p.spoken / p.busy
	}
	e.Live, e.Bulk = p.live/p.seconds, make(map[job.Tenant]fair.Stream, len(p.bulk))
	for tenant, s := range p.bulk {
		e.Bulk[tenant] = fair.Stream{Cost: s.Cost / p.seconds, Jobs: s.Jobs / p.seconds}
	}
	return e
}
