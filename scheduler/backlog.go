package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// backlogEvery is how often the backlog is counted: autoscalers look every half minute.
const backlogEvery = 10 * time.Second

// counted is the backlog as it was counted last, for whoever asks any scheduler.
type counted struct {
	mu    sync.Mutex // held while it is counted, so that many who ask count once
	at    time.Time
	pools []backlog.Pool
}

// capacity passes on what a worker tells of itself.
func (s *service) capacity(c bus.Capacity) {
	s.releaser.Capacity(c)
	s.meter.Capacity(c)
}

// watchBacklog keeps the metrics of the backlog until ctx is done, and stores what
// workers told of their speed. The scan may take one part in twenty of the time.
func (s *service) watchBacklog(ctx context.Context, leased *store.Leased) error {
	shown := map[string]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for pool := range shown {
				s.metrics.pool(&backlog.Pool{Pool: pool}) // the next leader shows it
			}
			return nil
		case <-timer.C:
		}
		start := time.Now()
		pools, err := s.backlog(ctx, 0)
		if err == nil {
			err = leased.SaveSpeeds(ctx, s.meter.Speeds())
		}
		timer.Reset(max(backlogEvery, 20*time.Since(start)))
		if err != nil {
			s.deps.Log.DebugContext(ctx, "backlog not counted", slog.String("error", err.Error()))
			continue
		}
		for i := range pools {
			shown[pools[i].Pool] = true
			s.metrics.pool(&pools[i])
		}
	}
}

// backlog returns the backlog of every pool that has voices, by name, counted
// within age.
func (s *service) backlog(ctx context.Context, age time.Duration) ([]backlog.Pool, error) {
	s.counted.mu.Lock()
	defer s.counted.mu.Unlock()
	if time.Since(s.counted.at) < age {
		return s.counted.pools, nil
	}
	known, err := s.store.Speeds(ctx)
	if err != nil {
		return nil, err
	}
	s.meter.Known(known)
	works, err := s.store.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string][]backlog.Work{}
	for _, w := range works {
		by[w.Pool] = append(by[w.Pool], w)
	}
	pools := make([]backlog.Pool, 0, len(by))
	for pool, works := range by {
		speed, replicas := s.meter.Speed(pool)
		pools = append(pools, s.cfg.Backlog.Sum(pool, works, speed, replicas))
	}
	slices.SortFunc(pools, func(a, b backlog.Pool) int { return cmp.Compare(a.Pool, b.Pool) })
	s.counted.at, s.counted.pools = time.Now(), pools
	return pools, nil
}

// serveBacklog answers whoever scales workers. Every scheduler knows it, whoever leads.
func (s *service) serveBacklog(w http.ResponseWriter, r *http.Request) {
	pools, err := s.backlog(r.Context(), backlogEvery)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		s.deps.Log.WarnContext(r.Context(), "backlog not counted", slog.String("error", err.Error()))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("{\"error\": \"The database does not answer.\"}\n"))
		return
	}
	by := make(map[string]backlog.Pool, len(pools))
	for _, p := range pools {
		by[p.Pool] = p
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"pools": by})
}

// pool shows the backlog of one pool.
func (m *metrics) pool(p *backlog.Pool) {
	for _, class := range classes() {
		c, lane := p.Classes[class], []string{p.Pool, string(class)}
		m.known(p.Pool, class)
		m.backlog.With(lane...).Set(c.AudioSeconds)
		m.backlogGPU.With(lane...).Set(c.GPUSeconds)
		m.oldest.With(lane...).Set(c.OldestSeconds)
	}
	m.replicas.With(p.Pool).Set(float64(p.Replicas))
	m.desired.With(p.Pool).Set(float64(p.DesiredReplicas))
	m.speed.With(p.Pool).Set(p.AudioPerSecond)
}
