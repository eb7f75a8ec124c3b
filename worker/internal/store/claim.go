package store

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Ref names one bundle that is out, under one attempt.
type Ref struct {
	Job     int64
	N       int // of its first segment
	Attempt int
}

// RefOf returns how the database names b.
func RefOf(b bus.Bundle) Ref { return Ref{Job: b.Job, N: b.N(), Attempt: b.Attempt} }

// suspectDeaths is how many deliveries of a bundle may end without a result
// before its segments run alone; so often again, and the one that is alone is to
// blame. The statements know the number too.
const suspectDeaths = 2

// Claim asks for one bundle that was delivered.
type Claim struct {
	Ref
	Again    bool          // it was delivered before, so whoever began with it is gone
	Segments []bus.Segment // of the bundle
}

// Claimed is what is left of a bundle.
type Claimed struct {
	Ref
	Mask   uint64 // bit (n-1)%64 is set while segment n is wanted
	Stored uint64 // likewise, if its rendition is stored already
	Deaths int    // deliveries that ended without a result, before this release
	Died   int    // the same, of this release
}

// Wants reports whether segment n is still to be worked on.
func (c Claimed) Wants(n int) bool { return c.Mask>>((n-1)%bus.BlockSegments)&1 == 1 }

// Rendered reports whether segment n needs no engine: its rendition is stored already.
func (c Claimed) Rendered(n int) bool { return c.Stored>>((n-1)%bus.BlockSegments)&1 == 1 }

// Suspect reports that workers died with this segment often enough to let it run alone.
func (c Claimed) Suspect() bool { return c.Deaths >= suspectDeaths }

// Isolate reports that from now on the segments have to run alone.
func (c Claimed) Isolate() bool { return !c.Suspect() && c.Deaths+c.Died >= suspectDeaths }

// Guilty reports that the segment ended workers while it was alone.
func (c Claimed) Guilty() bool { return c.Suspect() && c.Died >= suspectDeaths }

// Claim notes that the deliveries of bundles begin, and returns what is left of
// each that is still out, and what of it is stored, in no particular order. A suspect begins later, with [Store.Begin].
func (s *Store) Claim(ctx context.Context, claims []Claim) ([]Claimed, error) {
	refs, again := make([]Ref, len(claims)), make([]bool, len(claims))
	var asks []Ask
	for i, c := range claims {
		refs[i], again[i] = c.Ref, c.Again
		for _, g := range c.Segments {
			asks = append(asks, Ask{c.Ref, g.N, g.RenditionKey})
		}
	}
	jobs, ns, attempts := columns(refs)
	of, segments, keys, err := askColumns(asks)
	if err != nil {
		return nil, err
	}
	bundleJobs, bundles, bundleAttempts := columns(of)
	return collect(ctx, s, "Claim", func(row pgx.CollectableRow) (c Claimed, err error) {
		var mask, stored int64
		err = row.Scan(&c.Job, &c.N, &c.Attempt, &mask, &c.Deaths, &c.Died, &stored)
		c.Mask, c.Stored = uint64(mask), uint64(stored) //nolint:gosec // the bits are what counts
		return c, err
	}, jobs, ns, attempts, again, bundleJobs, bundles, bundleAttempts, segments, keys)
}

// Return takes Claim and Begin back: the bundles are given to somebody else, and
// nobody died.
func (s *Store) Return(ctx context.Context, refs []Ref) error {
	jobs, ns, attempts := columns(refs)
	if _, err := s.pool.Exec(ctx, s.q.Get("Return"), jobs, ns, attempts); err != nil {
		return fmt.Errorf("return bundles: %w", pg.Classify(err))
	}
	return nil
}

// Ask asks for one segment of a bundle.
type Ask struct {
	Ref
	Segment int
	Key     string // of its rendition
}

// Answer tells of one Ask.
type Answer struct {
	Wanted   bool
	Rendered bool   // its rendition is stored already: no engine is needed
	Suffix   string // of the object's name of that
	Heard    bool   // it was heard
}

// Begin tells, right before an engine call, which of its segments are still
// wanted. It notes that the delivery of a suspect begins.
func (s *Store) Begin(ctx context.Context, asks []Ask) ([]Answer, error) {
	refs, ns, keys, err := askColumns(asks)
	if err != nil {
		return nil, err
	}
	jobs, bundles, attempts := columns(refs)
	type found struct {
		at int
		Answer
	}
	rows, err := collect(ctx, s, "Begin", func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.at, &f.Rendered, &f.Suffix, &f.Heard)
		return f, err
	}, jobs, bundles, attempts, ns, keys)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(asks))
	for _, f := range rows {
		answers[f.at-1] = f.Answer
		answers[f.at-1].Wanted = true
	}
	return answers, nil
}

// askColumns turns asks into the arrays that statements take.
func askColumns(asks []Ask) (refs []Ref, ns []int32, keys [][]byte, err error) {
	refs, ns, keys = make([]Ref, len(asks)), make([]int32, len(asks)), make([][]byte, len(asks))
	for i, a := range asks {
		if keys[i], err = decodeKey(a.Key); err != nil {
			return nil, nil, nil, err
		}
		refs[i], ns[i] = a.Ref, int32(a.Segment) //nolint:gosec // at most 200,000 segments
	}
	return refs, ns, keys, nil
}

func decodeKey(key string) ([]byte, error) {
	raw, err := hex.DecodeString(key)
	if err != nil {
		return nil, &job.Error{Op: "store.decodeKey", Kind: job.Internal, Err: fmt.Errorf("rendition key %q: %w", key, err)}
	}
	return raw, nil
}

// columns turns refs into the arrays that statements take.
func columns(refs []Ref) (jobs []int64, ns, attempts []int32) {
	jobs, ns, attempts = make([]int64, len(refs)), make([]int32, len(refs)), make([]int32, len(refs))
	for i, r := range refs {
		jobs[i], ns[i], attempts[i] = r.Job, int32(r.N), int32(r.Attempt) //nolint:gosec // at most 200,000 segments, a handful of attempts
	}
	return jobs, ns, attempts
}
