package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// encodeHearing returns h as it is stored; nil for none.
func encodeHearing(h *job.Hearing) (json.RawMessage, error) {
	if h == nil {
		return nil, nil
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, &job.Error{Op: "store.encodeHearing", Kind: job.Internal, Err: err}
	}
	return raw, nil
}

// PutEar makes known whether a worker has an ear.
func (s *Store) PutEar(ctx context.Context, worker string, has bool) error {
	if _, err := s.pool.Exec(ctx, s.q.Get("PutEar"), worker, has); err != nil {
		return fmt.Errorf("say what can be heard: %w", pg.Classify(err))
	}
	return nil
}

// PutHearing stores what was heard of a rendition that is there already; if that was
// known, or it is gone, it changes nothing.
func (s *Store) PutHearing(ctx context.Context, key, suffix string, h job.Hearing) error {
	raw, err := decodeKey(key)
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, s.q.Get("PutHearing"), raw, suffix, h); err != nil {
		return fmt.Errorf("store what was heard: %w", pg.Classify(err))
	}
	return nil
}
