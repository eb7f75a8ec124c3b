package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/pg"
)

// Pools returns the names of the pools that have voices.
func (s *Store) Pools(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Pools"))
	if err != nil {
		return nil, pg.Classify(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, pg.Classify(err)
}
