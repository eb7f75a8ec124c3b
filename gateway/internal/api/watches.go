package api

import (
	"context"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
)

// watches are the feeds that are open, in all and by API key. It is safe for
// concurrent use.
type watches struct {
	most, mostOfKey int

	mu    sync.Mutex
	total int                       // guarded by mu
	keys  map[string]map[*Feed]bool // guarded by mu; none of them empty; true: begun, so that it can be ended
}

func newWatches(most, mostOfKey int) *watches {
	return &watches{most: most, mostOfKey: mostOfKey, keys: make(map[string]map[*Feed]bool)}
}

// add counts one more of a key. full says that it cannot; ofKey, that it is the
// key's own limit.
func (w *watches) add(key string, f *Feed) (full, ofKey bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.keys[key]
	switch {
	case len(of) >= w.mostOfKey:
		return true, true
	case w.total >= w.most:
		return true, false
	case of == nil:
		of = make(map[*Feed]bool)
		w.keys[key] = of
	}
	w.total++
	of[f] = false
	return false, false
}

func (w *watches) remove(key string, f *Feed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if delete(w.keys[key], f); len(w.keys[key]) == 0 {
		delete(w.keys, key)
	}
}

// begun notes that a feed can be ended from now on.
func (w *watches) begun(key string, f *Feed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, open := w.keys[key][f]; open {
		w.keys[key][f] = true
	}
}

// of returns those of a key that have begun.
func (w *watches) of(key string) (list []*Feed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f, begun := range w.keys[key] {
		if begun {
			list = append(list, f)
		}
	}
	return list
}

func (w *watches) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// shutOut ends the watches of a key that was revoked here. Those of one that was
// revoked elsewhere, and of a token that has ended, find out by [API.revoked].
func (a *API) shutOut(key string) {
	for _, f := range a.watches.of(key) {
		f.finish(a.problem(f.c, unauthorized, sayNobody(f.c)))
	}
}

// revoked asks whether what the caller has shown lets nobody in any more, and says
// so; nil if it does, or if that cannot be known now. It may block.
func (a *API) revoked(ctx context.Context, c *Call) (why *Answer) {
	id, known := a.dep.Keys.Get(c.Key, time.Now())
	if !known {
		var err error
		if id, err = a.who(ctx, c); err != nil && job.KindOf(err) != job.Unauthorized && job.KindOf(err) != job.Forbidden {
			return nil
		}
	}
	if id != nil {
		return nil
	}
	return a.problem(c, unauthorized, sayNobody(c))
}
