package store

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/pg"
)

// The kinds of rows that name objects.
const (
	NamesRendition = "rendition"
	NamesArtifact  = "artifact"
	NamesUpload    = "upload"   // whose object need not have arrived
	NamesDocument  = "document" // of a job that is open, whose upload is gone
)

// Name is an object that a row names.
type Name struct{ Key, Kind string }

// Names yields every object that a row named at this moment, in the order of the
// bytes of their keys, in constant memory. After an error it yields no more. It
// keeps a connection meanwhile.
func (s *Store) Names(ctx context.Context) iter.Seq2[Name, error] {
	return func(yield func(Name, error) bool) {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			yield(Name{}, fmt.Errorf("list what rows name: %w", pg.Classify(err)))
			return
		}
		defer conn.Release()
		if _, err := conn.Exec(ctx, s.q.Get("DeclareNames"), pgx.QueryExecModeSimpleProtocol); err != nil {
			yield(Name{}, fmt.Errorf("list what rows name: %w", pg.Classify(err)))
			return
		}
		defer func() { // a connection that is broken is closed, and its cursor with it
			_, _ = conn.Exec(context.WithoutCancel(ctx), s.q.Get("CloseNames"), pgx.QueryExecModeSimpleProtocol)
		}()
		for {
			rows, err := conn.Query(ctx, s.q.Get("FetchNames"), pgx.QueryExecModeSimpleProtocol)
			var page []Name
			if err == nil {
				page, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Name])
			}
			if err != nil {
				yield(Name{}, fmt.Errorf("list what rows name: %w", pg.Classify(err)))
				return
			}
			for _, n := range page {
				if !yield(n, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// Named reports whether a row names an object now.
func (s *Store) Named(ctx context.Context, object string) (yes bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("ObjectNamed"), object).Scan(&yes)
	return yes, pg.Classify(err)
}

// DiscardOrphans is [Leased.DropOrphans] for a program that does not lead. It
// is safe beside a leader: what a row names by then stays.
func (s *Store) DiscardOrphans(ctx context.Context, keys []string) error {
	_, err := s.pool.Exec(ctx, s.q.Get("DropOrphans"), keys)
	return pg.Classify(err)
}

// DropRenditionOf deletes the row of the rendition that an object was, so that
// it is spoken anew; false if there is none.
func (s *Store) DropRenditionOf(ctx context.Context, object string) (bool, error) {
	tag, err := s.pool.Exec(ctx, s.q.Get("DropRenditionOf"), object)
	return tag.RowsAffected() > 0, pg.Classify(err)
}
