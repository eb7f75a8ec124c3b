package store

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Cost is what a job would come to if it were handed in now.
type Cost struct {
	GPUSeconds float64 // of the pools' workers; 0 while none of them has told its speed
	// ETA is when it would end, which lies between Low and High in most cases; zero
	// while one of its pools takes no work, or has not told its speed.
	ETA, Low, High time.Time
}

// How far an estimate of work that has not begun is off in most cases, as
// package fair of the scheduler has it for jobs of which too few have ended.
const (
	costLow, costHigh = 0.85, 1.35
	interactiveShare  = 0.8 // of a pool, while both classes wait
)

// poolNow is how one pool is, in seconds of audio.
type poolNow struct {
	pool             string
	speed            float64 // of one worker, a second
	workers          int     // that take work
	mine, others     float64 // what waits of the class: of the tenant, and of others
	tenants          int     // so many others
	otherClass, sent float64 // what waits of the other class, and what is out
}

// CostOf returns what a job of a tenant and class would cost that has so many
// seconds of audio to be spoken in each pool, reused ones left out. It reads what
// waits, and changes nothing.
func (s *Store) CostOf(ctx context.Context, tenant job.Tenant, class job.Class, seconds map[string]float64) (Cost, error) {
	var names []string
	for pool, n := range seconds {
		if n > 0 {
			names = append(names, pool)
		}
	}
	slices.Sort(names)
	pools, err := collect(ctx, s, "PoolsNow", func(r pgx.CollectableRow) (p poolNow, err error) {
		err = r.Scan(&p.pool, &p.speed, &p.workers, &p.mine, &p.others, &p.tenants, &p.otherClass, &p.sent)
		return p, err
	}, tenant, class, names)
	if err != nil {
		return Cost{}, err
	}
	var c Cost
	wait := 0.0
	for _, p := range pools {
		if p.speed > 0 {
			c.GPUSeconds += seconds[p.pool] / p.speed
		}
		wait = max(wait, p.wait(class, seconds[p.pool]))
	}
	if now := time.Now(); !math.IsInf(wait, 1) {
		at := func(part float64) time.Time {
			return now.Add(time.Duration(min(part*wait, 1e8) * float64(time.Second)))
		}
		c.ETA, c.Low, c.High = at(1), at(costLow), at(costHigh)
	}
	return c, nil
}

// wait returns in how many seconds work of a class ends that is added now: its
// tenant's own work is before it, of others no more than their tenants get
// meanwhile, and the other class has its share.
func (p *poolNow) wait(class job.Class, work float64) float64 {
	rate := p.speed * float64(p.workers)
	if rate <= 0 {
		return math.Inf(1)
	}
	share := interactiveShare
	if class == job.Bulk {
		share = 1 - share
	}
	own := p.mine + work
	total := own + min(p.others, own*float64(p.tenants))
	total += min(p.otherClass, total*(1-share)/share)
	return (p.sent + total) / rate
}
