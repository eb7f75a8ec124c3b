package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// collect deletes the objects that were to go for long enough.
func (w *Sweeper) collect(ctx context.Context, s *store.Leased) error {
	for range batches {
		list, err := s.Garbage(ctx, w.cfg.Garbage, rowsAtOnce)
		if err != nil {
			return fmt.Errorf("find garbage: %w", err)
		}
		if len(list) == 0 {
			return nil
		}
		var named []string
		var unnamed []store.Discarded
		for _, d := range list {
			if d.Named {
				named = append(named, d.Key)
			} else {
				unnamed = append(unnamed, d)
			}
		}
		gone, failed := w.remove(ctx, unnamed)
		err = errors.Join(failed, s.ForgetGarbage(ctx, named), s.GarbageGone(ctx, gone))
		if err != nil || len(list) < rowsAtOnce {
			return err
		}
	}
	return nil
}

// remove deletes objects, some at a time, and returns which are gone.
func (w *Sweeper) remove(ctx context.Context, list []store.Discarded) (gone []string, err error) {
	var mu sync.Mutex // guards gone and errs
	var errs []error
	next := make(chan store.Discarded)
	var workers sync.WaitGroup
	for range min(deletes, len(list)) {
		workers.Go(func() { // ends when next is closed
			for d := range next {
				err := w.removeOne(ctx, d)
				mu.Lock()
				if err == nil {
					gone = append(gone, d.Key)
				} else if len(errs) < 3 { // the others say the same
					errs = append(errs, fmt.Errorf("delete %s: %w", d.Key, err))
				}
				mu.Unlock()
			}
		})
	}
	for _, d := range list {
		next <- d
	}
	close(next)
	workers.Wait()
	return gone, errors.Join(errs...)
}

// clocks is what the clocks of the database and the bucket may differ.
const clocks = time.Minute

// removeOne deletes an object, unless it is younger than the note that it is to
// go: then a former round has deleted the one that was meant, and did not come to
// say so, and a worker has used the name again.
func (w *Sweeper) removeOne(ctx context.Context, d store.Discarded) error {
	there, err := w.bucket.Stat(ctx, d.Key)
	switch {
	case err != nil && job.KindOf(err) == job.NotFound:
		return nil
	case err != nil:
		return err
	case there.LastModified.After(d.Since.Add(clocks)):
		return nil
	}
	return w.bucket.Delete(ctx, d.Key)
}

// walk looks at some more objects of the bucket and lets go what never got a row.
func (w *Sweeper) walk(ctx context.Context, s *store.Leased) error {
	old := time.Now().Add(-w.cfg.Orphans)
	var page []string
	seen, last := 0, w.walked
	for o, err := range w.bucket.ListAfter(ctx, "", w.walked) {
		if err != nil {
			return fmt.Errorf("list the bucket: %w", err)
		}
		seen, last = seen+1, o.Key
		if o.LastModified.Before(old) && blob.ValidKey(o.Key) == nil {
			page = append(page, o.Key)
		}
		if len(page) == rowsAtOnce {
			if err := w.orphans(ctx, s, page); err != nil {
				return err
			}
			page, w.walked = page[:0], last
		}
		if seen == walkPages*rowsAtOnce {
			break
		}
	}
	if err := w.orphans(ctx, s, page); err != nil {
		return err
	}
	if w.walked = last; seen < walkPages*rowsAtOnce {
		w.walked = "" // that was the end
	}
	return nil
}

func (w *Sweeper) orphans(ctx context.Context, s *store.Leased, page []string) error {
	if len(page) == 0 {
		return nil
	}
	found, err := s.Orphans(ctx, page)
	if err != nil || len(found) == 0 {
		return err
	}
	w.log.InfoContext(ctx, "objects that never got a row are deleted", slog.Int("objects", len(found)), slog.String("first", found[0]))
	return s.DropOrphans(ctx, found)
}
