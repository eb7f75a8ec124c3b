package release

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// pass is what one run of a Releaser knows. Everything in it can be read again
// from Postgres. Only the goroutine of Run touches it.
type pass struct {
	r        *Releaser
	queue    *Queue
	restored bool // virtual times are read
	known    bool // out holds everything that is released
	noticed  []job.ID
	out      map[segmentKey]store.Segment // released and not known to be final
	paces    map[string]*Pace             // by pool
	looked   time.Time                    // when out was last compared with Postgres
	scanned  time.Time
	scanCost time.Duration
	swept    time.Time
	unsent   []bus.Work // marked released, but the bus did not take them
}

type segmentKey struct {
	id job.ID
	n  int
}

func newPass(r *Releaser) *pass {
	return &pass{r: r, queue: NewQueue(r.cfg.queue()), out: map[segmentKey]store.Segment{}, paces: map[string]*Pace{}}
}

// step brings the window up to date once.
func (p *pass) step(ctx context.Context) error {
	if !p.restored {
		times, err := p.r.deps.Store.VirtualTimes(ctx)
		if err != nil {
			return fmt.Errorf("restore virtual times: %w", err)
		}
		for _, t := range times {
			p.queue.Restore(t)
		}
		p.restored = true
	}
	if err := p.look(ctx); err != nil {
		return fmt.Errorf("look after released segments: %w", err)
	}
	if err := p.sweep(ctx); err != nil {
		return fmt.Errorf("sweep released segments: %w", err)
	}
	if err := p.learn(ctx); err != nil {
		return fmt.Errorf("find jobs to release: %w", err)
	}
	if err := p.resend(ctx); err != nil {
		return err
	}
	if err := p.fill(ctx); err != nil {
		return fmt.Errorf("fill the window: %w", err)
	}
	p.queue.Forget(keepAccounts)
	return nil
}

// learn adds the jobs that were announced, and from time to time those that were not.
func (p *pass) learn(ctx context.Context) error {
	for len(p.noticed) < noticeBacklog {
		select {
		case id := <-p.r.notices:
			p.noticed = append(p.noticed, id)
			continue
		default:
		}
		break
	}
	if time.Since(p.scanned) >= max(scanEvery, scanShare*p.scanCost) {
		start := time.Now()
		ids, err := p.r.deps.Store.ReadyJobs(ctx, jobsPerTenant)
		if err != nil {
			return err
		}
		p.scanned, p.scanCost = time.Now(), time.Since(start)
		p.noticed = append(p.noticed, ids...)
	}
	fresh := slices.DeleteFunc(p.noticed, p.queue.Has)
	for chunk := range slices.Chunk(fresh, noticeBacklog) {
		jobs, err := p.r.deps.Store.LoadJobs(ctx, chunk)
		if err != nil {
			p.noticed = fresh
			return err
		}
		for _, j := range jobs {
			p.queue.Add(j)
		}
	}
	p.noticed = p.noticed[:0]
	return nil
}

// fill lets out what fits: marked in Postgres first, then published.
func (p *pass) fill(ctx context.Context) error {
	rooms := p.rooms()
	for len(rooms) > 0 {
		picks, ask := p.queue.Next(rooms)
		if err := p.release(ctx, picks); err != nil {
			return err
		}
		if len(ask) == 0 {
			return nil
		}
		segments, err := p.r.deps.Store.PendingSegments(ctx, ask, fillSegments)
		if err != nil {
			return err
		}
		lots := map[store.Lot][]store.Segment{}
		for _, g := range segments {
			l := store.Lot{JobID: g.JobID, Pool: g.Pool}
			lots[l] = append(lots[l], g)
		}
		for _, l := range ask {
			p.queue.Fill(l, lots[l], fillSegments)
		}
	}
	return nil
}

// rooms returns the room of every lane in which work waits.
func (p *pass) rooms() map[Lane]*Room {
	type load struct {
		seconds  float64
		segments int
	}
	loads := map[Lane]load{}
	for _, g := range p.out {
		at := Lane{g.Pool, g.Class}
		l := loads[at]
		loads[at] = load{l.seconds + g.Seconds, l.segments + 1}
	}
	rooms := map[Lane]*Room{}
	for at := range p.queue.lanes {
		rooms[at] = p.r.cfg.window().Room(p.pace(at.Pool).Rate(), loads[at].seconds, loads[at].segments)
	}
	return rooms
}

func (p *pass) pace(pool string) *Pace {
	pace := p.paces[pool]
	if pace == nil {
		pace = &Pace{}
		p.paces[pool] = pace
	}
	return pace
}

func (p *pass) release(ctx context.Context, picks []store.Segment) error {
	if len(picks) == 0 {
		return nil
	}
	released, started, err := p.r.deps.Store.Release(ctx, picks, p.queue.Times(picks))
	if err != nil {
		p.known = false        // the outcome may be unknown
		for i := range picks { // they are pending still and will be picked again
			p.queue.Settle(picks[i].Tenant, picks[i].Class, -picks[i].Seconds)
		}
		return err
	}
	for _, g := range released {
		slim := g
		slim.Text, slim.Pronunciations, slim.Callback = "", nil, nil
		p.out[segmentKey{g.JobID, g.N}] = slim
	}
	p.refund(picks, released)
	for _, v := range started {
		p.r.deps.Bus.Hint(v.ID, v.Version)
	}
	p.observe(released, false)
	p.unsent = append(p.unsent, works(released)...)
	return p.resend(ctx)
}

// refund takes back what was charged for picks that did not go out, because
// their job was cancelled meanwhile.
func (p *pass) refund(picks, released []store.Segment) {
	if len(picks) == len(released) {
		return
	}
	out := map[segmentKey]bool{}
	for _, g := range released {
		out[segmentKey{g.JobID, g.N}] = true
	}
	for _, g := range picks {
		if !out[segmentKey{g.JobID, g.N}] {
			p.queue.Settle(g.Tenant, g.Class, -g.Seconds)
			p.queue.Remove(g.JobID) // the scan finds it again if there is more
		}
	}
}

// resend publishes what is marked released. What the bus does not take stays
// for the next step; should this process end first, the sweep finds it.
func (p *pass) resend(ctx context.Context) error {
	if len(p.unsent) == 0 {
		return nil
	}
	var left []bus.Work
	var last error
	for i, err := range p.r.deps.Bus.PublishWork(ctx, p.unsent) {
		switch {
		case err == nil:
		case job.Retryable(err):
			left, last = append(left, p.unsent[i]), err
		default:
			// Not a matter of time: the segment stays released and the sweep tries it again.
			p.r.deps.Log.ErrorContext(ctx, "segment cannot be published", slog.String("job_id", string(p.unsent[i].JobID)),
				slog.Int("segment", p.unsent[i].N), slog.String("error", err.Error()))
		}
	}
	p.unsent = left
	if last != nil {
		return fmt.Errorf("publish %d released segments: %w", len(left), last)
	}
	return nil
}

// sweep publishes again what has been out for long, and everything once after
// a start, before anything new is let out: the former life may have ended
// between the mark and the publish. A message that is still there is refused, so
// this harms nothing.
func (p *pass) sweep(ctx context.Context) error {
	age := p.r.cfg.SweepAfter
	if p.swept.IsZero() {
		age = 0
	} else if time.Since(p.swept) < age/2 {
		return nil
	}
	stale, err := p.r.deps.Store.StaleReleases(ctx, age, p.r.cfg.MaxSegments)
	if err != nil {
		return err
	}
	p.swept = time.Now()
	p.observe(stale, true)
	for i, err := range p.r.deps.Bus.PublishWork(ctx, works(stale)) {
		if err != nil {
			return fmt.Errorf("publish segment %d of job %s again: %w", stale[i].N, stale[i].JobID, err)
		}
	}
	return nil
}

func (p *pass) observe(segments []store.Segment, swept bool) {
	counts := map[Lane]int{}
	for i := range segments {
		counts[Lane{segments[i].Pool, segments[i].Class}]++
	}
	for at, n := range counts {
		e := Event{Pool: at.Pool, Class: at.Class, Released: n}
		if swept {
			e.Released, e.Swept = 0, n
		}
		p.r.deps.Observe(e)
	}
}

func works(segments []store.Segment) []bus.Work {
	out := make([]bus.Work, len(segments))
	for i := range segments {
		g := &segments[i]
		out[i] = bus.Work{
			JobID: g.JobID, N: g.N, Chapter: g.Chapter, Attempt: g.Attempt, Tenant: g.Tenant, Pool: g.Pool, Voice: g.Voice,
			Language: g.Language, Text: g.Text, Speed: g.Speed, Seed: g.Seed, PredictedSeconds: g.Seconds,
			RenditionKey: g.RenditionKey, Pronunciations: g.Pronunciations, SampleRate: g.SampleRate, Class: g.Class,
			Solo: g.Attempt > 1, // what failed once must not take others along
		}
	}
	return out
}
