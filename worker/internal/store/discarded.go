package store

import (
	"context"
	"fmt"

	"github.com/voicemill/voicemill/platform/pg"
)

// Discarded reports whether an object is about to be deleted, or was a short time
// ago: no row may name it.
func (s *Store) Discarded(ctx context.Context, object string) (yes bool, err error) {
	if err := s.pool.QueryRow(ctx, s.q.Get("IsDiscarded"), object).Scan(&yes); err != nil {
		return false, fmt.Errorf("look whether %s is discarded: %w", object, pg.Classify(err))
	}
	return yes, nil
}
