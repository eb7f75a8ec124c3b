package release

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const (
	estimateEvery  = 5 * time.Second
	estimateSoon   = time.Second // after the last round, when a job was planned
	estimateShare  = 50          // it takes one part in so many of the time at most
	estimatesSaved = 2_000       // of one round; what ends sooner comes first
	newsSeconds    = 2.0         // an estimate that is off by less is no news
	newsPart       = 0.05        // nor one that is off by less of what remains
	placesTold     = 100         // a place further behind is told when it is news otherwise
)

// estimates are what was said of jobs that have not ended, and what came of that.
type estimates struct {
	next    time.Time
	soonest time.Time // the next round may be
	round   int
	said    map[int64]*said
	records map[job.Class]*fair.Record
	flows   flows
}

// said is what was said of a job last, and one thing that was said of it by
// chance, which is held against what comes.
type said struct {
	store.Estimate
	class job.Class
	round int // in which it was seen last
	times int
	at    time.Time
	raw   float64 // seconds, as package fair said it at that moment
}

// Told is how an estimate turned out.
type Told struct {
	Class   job.Class
	Off     float64 // by how much longer the job took, of what it took; negative if it was faster
	Covered bool    // it ended within the interval
}

func newEstimates() estimates {
	return estimates{
		said: map[int64]*said{}, records: map[job.Class]*fair.Record{job.Interactive: {}, job.Bulk: {}}, flows: flows{at: time.Now(), pools: map[string]*flow{}},
	}
}

// estimate says of every job that waits or is out when it will end, as often as
// there is time for it, and learns from those that have ended. That it fails
// holds nothing up.
func (l *loop) estimate(ctx context.Context) {
	now := time.Now()
	if now.Before(l.says.next) || !l.known {
		return
	}
	l.says.round++
	l.says.flows.fade(now, l.waits.pools())
	news := l.foretell(now)
	err := l.judge(ctx)
	if err == nil && len(news) > 0 {
		err = l.store.SaveEstimates(ctx, news)
	}
	if err != nil {
		l.r.deps.Log.DebugContext(ctx, "estimates not stored", slog.String("error", err.Error()))
	}
	took := estimateShare * time.Since(now)
	l.says.next, l.says.soonest = time.Now().Add(max(estimateEvery, took)), time.Now().Add(max(estimateSoon, took))
}

// soon has something said of a job that was just planned.
func (s *estimates) soon() {
	if s.next.After(s.soonest) {
		s.next = s.soonest
	}
}

// pools are the pools in which something waits.
func (w *waiting) pools() map[string]bool {
	pools := map[string]bool{}
	for at := range w.lanes {
		pools[at.pool] = true
	}
	return pools
}

// end is when what of a job is known to the loop ends.
type end struct {
	fair.Forecast
	owner *store.Owner
	out   bool // some of it is out
}

// ends forecasts every job that waits or is out, those that end sooner first, pool by pool.
func (l *loop) ends() (order []*end) {
	known := map[int64]*end{}
	put := func(o *store.Owner, f fair.Forecast) *end {
		e := known[o.Num]
		if e == nil {
			e = &end{Forecast: f, owner: o}
			known[o.Num] = e
			order = append(order, e)
		}
		if f.Seconds > e.Seconds { // of a job that is in several pools, or comes again in part
			e.Forecast = f
		}
		return e
	}
	for _, f := range l.turns.core.Forecasts(l.says.flows.expect) {
		if e := l.turns.waiting[f.Job]; e != nil && e.join == nil {
			put(&e.owner, f)
		}
	}
	for _, b := range l.out {
		rate := l.says.flows.expect(b.pool).Rate
		if rate <= 0 {
			rate = l.turns.core.Total(b.pool).Rate
		}
		if rate > 0 {
			cost := l.turns.core.Out(b.pool, job.Interactive).Cost + l.turns.core.Out(b.pool, job.Bulk).Cost
			put(&b.owner, fair.Forecast{Pool: b.pool, Class: b.owner.Class, Seconds: cost / rate}).out = true
		}
	}
	return order
}

// foretell says anew when jobs end and returns what is news.
func (l *loop) foretell(now time.Time) (news []store.Estimate) {
	for _, f := range l.ends() {
		low, middle, high := l.says.records[f.owner.Class].Interval(f.Seconds)
		e := store.Estimate{Num: f.owner.Num, ETA: now.Add(span(middle)), Low: now.Add(span(low)), High: now.Add(span(high))}
		if !f.out {
			e.Pool, e.Place = f.Pool, f.Ahead+1
		}
		s := l.says.of(f.owner, f.Seconds, now)
		if s.news(&e, now) && len(news) < estimatesSaved {
			s.Estimate, news = e, append(news, e)
		}
	}
	return news
}

// of notes that seconds are said of a job now, and returns what was said of it.
func (s *estimates) of(o *store.Owner, seconds float64, now time.Time) *said {
	had := s.said[o.Num]
	if had == nil {
		had = &said{}
		s.said[o.Num] = had
	}
	had.class, had.round = o.Class, s.round
	if had.times++; rand.N(had.times) == 0 { //nolint:gosec // a sample, not a secret
		had.at, had.raw = now, seconds
	}
	return had
}

func (s *said) news(e *store.Estimate, now time.Time) bool {
	off := s.ETA.Sub(e.ETA).Abs().Seconds()
	return s.ETA.IsZero() || s.Pool != e.Pool || off > max(newsSeconds, newsPart*e.ETA.Sub(now).Seconds()) || s.Place != e.Place && e.Place <= placesTold
}

// judge compares what was said of jobs that wait no more with what came of them.
func (l *loop) judge(ctx context.Context) error {
	var gone []int64
	for num, s := range l.says.said {
		if s.round != l.says.round && len(gone) < page {
			gone = append(gone, num)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	list, err := l.store.Outcomes(ctx, gone)
	if err != nil {
		return err
	}
	open := map[int64]bool{}
	for i := range list {
		o := &list[i]
		s := l.says.said[o.Num]
		switch took := o.EndedAt.Sub(o.FirstAt); {
		case !o.Ended:
			open[o.Num] = true
		case o.Spoken && took > 0:
			l.says.records[s.class].Add(s.raw, o.EndedAt.Sub(s.at).Seconds())
			l.r.deps.Observe(Event{Told: &Told{
				Class: o.Class, Off: o.EndedAt.Sub(o.FirstETA).Seconds() / took.Seconds(), Covered: !o.EndedAt.Before(o.FirstLow) && !o.EndedAt.After(o.FirstHigh),
			}})
		}
	}
	for _, num := range gone {
		if !open[num] { // it has ended, or is deleted
			delete(l.says.said, num)
		}
	}
	return nil
}

func span(seconds float64) time.Duration {
	const longest = 1000 * 24 * time.Hour // what a Duration holds, and more than any job takes
	return time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
}
