package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/job"
)

// Track implements [playback.Store].
func (s *Store) Track(ctx context.Context, tenant job.Tenant, id job.ID, after, limit int) (playback.Track, error) {
	t := playback.Track{State: job.StateAccepted, Pauses: job.DefaultPauses()}
	err := s.call(ctx, "Track", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.queries.Get("Track"), id, tenant, after, limit)
		if err != nil {
			return err
		}
		var pauses []byte
		var kind string
		var g playback.Segment
		_, err = pgx.ForEachRow(rows, []any{
			&t.Version, &t.State, &t.Total, &pauses, &kind, &t.ErrorDetail,
			&g.N, &g.Chapter, &g.State, &g.BreakAfter, &g.ErrorDetail, &g.ObjectKey, &g.SampleRate, &g.Samples, &g.Bytes,
		}, func() error {
			if g.N > 0 {
				t.Segments = append(t.Segments, g)
			}
			return nil
		})
		if err != nil || t.Version == 0 {
			return err
		}
		t.ErrorKind, _ = job.ParseKind(kind)
		if err := json.Unmarshal(pauses, &t.Pauses); err != nil {
			return fmt.Errorf("read the pauses of job %s: %w", id, err)
		}
		return nil
	})
	if err != nil || t.Version > 0 {
		return t, err
	}
	fate, err := s.FateOf(ctx, id)
	switch {
	case fate.Deleted:
		err = &job.Error{Op: "store.Track", JobID: id, Kind: job.NotFound, Public: "The job was deleted."}
	case fate.Cancelled:
		t.State = job.StateCancelled
	}
	return t, err
}
