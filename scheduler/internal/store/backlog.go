package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/scheduler/internal/backlog"
)

// Backlog returns what is not finished of every class in every pool that a voice
// has, of those that have nothing, too.
func (s *Store) Backlog(ctx context.Context) ([]backlog.Work, error) {
	return collect(ctx, s, "Backlog", nil, func(r pgx.CollectableRow) (w backlog.Work, err error) {
		var oldest float64
		err = r.Scan(&w.Pool, &w.Class, &w.Audio, &oldest)
		w.Oldest = time.Duration(max(0, oldest) * float64(time.Second))
		return w, err
	})
}

// Speeds returns what was stored of the speed of pools.
func (s *Store) Speeds(ctx context.Context) ([]backlog.Speed, error) {
	return collect(ctx, s, "Speeds", nil, func(r pgx.CollectableRow) (v backlog.Speed, err error) {
		var cold float64
		err = r.Scan(&v.Pool, &v.Audio, &cold)
		v.ColdStart = time.Duration(cold * float64(time.Second))
		return v, err
	})
}

// SaveSpeeds stores what is known of the speed of pools, where it is news.
func (s *Leased) SaveSpeeds(ctx context.Context, list []backlog.Speed) error {
	pools, audio, cold := make([]string, len(list)), make([]float64, len(list)), make([]float64, len(list))
	for i, v := range list {
		pools[i], audio[i], cold[i] = v.Pool, v.Audio, v.ColdStart.Seconds()
	}
	_, err := s.exec(ctx, "SaveSpeeds", pools, audio, cold)
	return err
}
