package store

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

const (
	blockSize   = bus.BlockSegments
	keySize     = 32 // bytes of a rendition key
	flushBlocks = 32 // held between the document and the database: 2,048 segments
)

// block is one row of blocks.
type block struct {
	num      int64
	id       job.ID
	b        int
	segments []PlannedSegment
	keys     []byte
	at       []int // of each segment, its chapter as an index of the writer's chapters
	reused   uint64
	inOrder  bool // somebody listens: reading order is the order of release
	heard    bool // what was never heard is no rendition to be reused: a worker is to hear it
}

// blockWriter is one run of CommitPlans.
type blockWriter struct {
	s        *Leased
	nums     []int64
	attempts []int32
	numOf    map[job.ID]int64
	totals   map[job.ID]*totals
	chapters chapterColumns
	current  *block
	buffer   []*block
	looked   int               // blocks of buffer whose renditions were looked up
	flushed  bool              // some blocks are stored already
	fresh    map[job.ID]*Fresh // of plans that are stored at once
}

func newBlockWriter(s *Leased, plans []Plan) *blockWriter {
	w := &blockWriter{s: s, numOf: map[job.ID]int64{}, totals: map[job.ID]*totals{}}
	for i := range plans {
		w.nums, w.attempts = append(w.nums, plans[i].Num), append(w.attempts, int32(plans[i].Attempt)) //nolint:gosec // counts by one
		w.numOf[plans[i].ID] = plans[i].Num
	}
	return w
}

// read takes the chapters of one plan and stores full lots of blocks on the way.
func (w *blockWriter) read(ctx context.Context, p *Plan) error {
	t := &totals{digest: job.NewOrderDigest(), waiting: map[string]float64{}}
	w.totals[p.ID], w.current = t, nil
	goesOn := false
	for ch, err := range p.Chapters {
		if err != nil {
			return err
		}
		t.segments += len(ch.Segments)
		if goesOn {
			w.chapters.goOn(ch)
		} else {
			t.chapters++
			w.chapters.add(p.ID, ch)
		}
		if goesOn = ch.More; !goesOn {
			t.digest.Add(hex.EncodeToString(ch.Digest))
		}
		for i := range ch.Segments {
			g := &ch.Segments[i]
			g.Seconds = float64(float32(g.Seconds)) // as the block has it, so that sums agree
			t.characters += int64(g.Characters)
			t.seconds += g.Seconds
			if err := w.add(p, t, g); err != nil {
				return err
			}
		}
		if len(w.buffer) > flushBlocks {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// add puts g into the block that is being filled, or begins one.
func (w *blockWriter) add(p *Plan, t *totals, g *PlannedSegment) error {
	key, err := keyBytes(g.RenditionKey)
	if err != nil {
		return err
	}
	if w.current == nil || len(w.current.segments) == blockSize {
		w.current = &block{num: p.Num, id: p.ID, b: t.blocks, inOrder: p.Class == job.Interactive, heard: p.Verify == job.VerifyAll}
		t.blocks++
		w.buffer = append(w.buffer, w.current)
	}
	k := w.current
	k.segments, k.keys, k.at = append(k.segments, *g), append(k.keys, key...), append(k.at, len(w.chapters.jobs)-1)
	return nil
}

// flush stores the blocks in hand, but for the one that is being filled, in a
// transaction of their own.
func (w *blockWriter) flush(ctx context.Context) error {
	rest := w.buffer[len(w.buffer)-1:]
	w.buffer = w.buffer[:len(w.buffer)-1]
	if err := w.look(ctx); err != nil {
		return err
	}
	err := w.s.tx(ctx, func(tx pgx.Tx) error {
		open, err := w.fence(ctx, tx, "FencePlans")
		if err != nil {
			return err
		}
		return w.copy(ctx, tx, open)
	})
	w.buffer, w.looked, w.flushed = slices.Clone(rest), 0, true
	return err
}

// fence returns the jobs whose plan still counts, and locks them.
func (w *blockWriter) fence(ctx context.Context, tx pgx.Tx, query string) (map[int64]bool, error) {
	rows, err := tx.Query(ctx, w.s.q.Get(query), w.nums, w.attempts)
	if err != nil {
		return nil, err
	}
	nums, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	open := make(map[int64]bool, len(nums))
	for _, n := range nums {
		open[n] = true
	}
	return open, err
}

// look finds out which segments of the blocks in hand are spoken already, and
// counts them.
func (w *blockWriter) look(ctx context.Context) error {
	fresh := w.buffer[w.looked:]
	there, err := w.spoken(ctx, fresh)
	if err != nil {
		return err
	}
	w.looked = len(w.buffer)
	for _, k := range fresh {
		t := w.totals[k.id]
		for i := range k.segments {
			g := &k.segments[i]
			audio, ok := there[[keySize]byte(k.keys[i*keySize:])]
			if !ok || k.heard && !audio.heard {
				t.waiting[g.Pool] += g.Seconds
				continue
			}
			k.reused |= 1 << i
			t.reused++
			t.reusedPredicted += g.Seconds
			t.reusedAudio += audio.seconds
			w.chapters.done[k.at[i]]++
		}
	}
	return nil
}

// rendition is what planning needs to know of one that exists.
type rendition struct {
	seconds float64 // of audio
	heard   bool
}

// spoken returns the renditions that exist.
func (w *blockWriter) spoken(ctx context.Context, blocks []*block) (map[[keySize]byte]rendition, error) {
	if len(blocks) == 0 {
		return nil, nil
	}
	var keys [][]byte
	for _, k := range blocks {
		keys = slices.AppendSeq(keys, slices.Chunk(k.keys, keySize))
	}
	rows, err := w.s.pool.Query(ctx, w.s.q.Get("RenditionsOf"), keys)
	if err != nil {
		return nil, pg.Classify(err)
	}
	there := map[[keySize]byte]rendition{}
	var key []byte
	var r rendition
	_, err = pgx.ForEachRow(rows, []any{&key, &r.seconds, &r.heard}, func() error { there[[keySize]byte(key)] = r; return nil })
	return there, pg.Classify(err)
}

func blockColumns() []string {
	return []string{
		"job", "b", "chapters", "texts", "voices", "languages", "pools", "pronunciations", "instructions", "documents", "starts", "ends",
		"breaks", "seconds", "rates", "keys", "turns", "reused",
	}
}

// copy stores the blocks in hand of jobs that are open. The first blocks of a
// job take the place of what a former attempt has left.
func (w *blockWriter) copy(ctx context.Context, tx pgx.Tx, open map[int64]bool) error {
	var mine []*block
	var fresh []int64
	for _, k := range w.buffer {
		if !open[k.num] {
			continue
		}
		mine = append(mine, k)
		if k.b == 0 {
			fresh = append(fresh, k.num)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	if len(fresh) > 0 {
		if _, err := tx.Exec(ctx, w.s.q.Get("DropBlocks"), fresh); err != nil {
			return fmt.Errorf("drop old blocks: %w", err)
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"blocks"}, blockColumns(), pgx.CopyFromSlice(len(mine), func(i int) ([]any, error) {
		return mine[i].row()
	}))
	if err != nil {
		return fmt.Errorf("store blocks: %w", err)
	}
	return nil
}

// row returns the block in the order of blockColumns.
func (k *block) row() ([]any, error) {
	ints := func(f func(*PlannedSegment) int) []int32 {
		return columnOf(k.segments, func(g *PlannedSegment) int32 { return int32(f(g)) }) //nolint:gosec // chapters and hertz
	}
	texts := func(f func(*PlannedSegment) string) []string { return columnOf(k.segments, f) }
	pronunciations, err := k.pronunciations()
	if err != nil {
		return nil, err
	}
	return []any{
		k.num, int32(k.b), ints(func(g *PlannedSegment) int { return g.Chapter }), //nolint:gosec // bounded by job.Limits
		texts(func(g *PlannedSegment) string { return g.Text }), texts(func(g *PlannedSegment) string { return g.Voice }),
		texts(func(g *PlannedSegment) string { return g.Language }), texts(func(g *PlannedSegment) string { return g.Pool }),
		pronunciations, k.instructions(), texts(func(g *PlannedSegment) string { return g.SourceDocument }),
		columnOf(k.segments, func(g *PlannedSegment) int64 { return g.SourceStart }),
		columnOf(k.segments, func(g *PlannedSegment) int64 { return g.SourceEnd }),
		texts(func(g *PlannedSegment) string { return g.Break }),
		columnOf(k.segments, func(g *PlannedSegment) float32 { return float32(g.Seconds) }),
		ints(func(g *PlannedSegment) int { return g.SampleRate }), k.keys, k.turns(), int64(k.reused), //nolint:gosec // the bits are kept, not the number
	}, nil
}

// turns returns the place of each segment in the order of release.
func (k *block) turns() []byte {
	turns := make([]byte, len(k.segments))
	for place, i := range k.order() {
		turns[i] = byte(place)
	}
	return turns
}

func columnOf[T any](segments []PlannedSegment, f func(*PlannedSegment) T) []T {
	out := make([]T, len(segments))
	for i := range segments {
		out[i] = f(&segments[i])
	}
	return out
}

// pronunciations returns a JSON array with null for none, or nil for none at all.
func (k *block) pronunciations() (any, error) {
	list, some := make([]json.RawMessage, len(k.segments)), false
	for i := range k.segments {
		list[i] = k.segments[i].Pronunciations
		if some = some || list[i] != nil; list[i] == nil {
			list[i] = json.RawMessage("null")
		}
	}
	if !some {
		return nil, nil
	}
	raw, err := json.Marshal(list)
	return string(raw), err
}

// instructions returns those of each segment, or nil for none at all.
func (k *block) instructions() []string {
	list := columnOf(k.segments, func(g *PlannedSegment) string { return g.Instructions })
	if slices.ContainsFunc(list, func(s string) bool { return s != "" }) {
		return list
	}
	return nil
}

// order returns the indexes of the segments in the order of release: like
// lengths together, the longest first, so that bundles are of like length and
// no long segment comes last; in reading order where somebody listens.
func (k *block) order() []int {
	order := make([]int, len(k.segments))
	for i := range order {
		order[i] = i
	}
	if !k.inOrder {
		slices.SortStableFunc(order, func(a, b int) int {
			x, y := &k.segments[a], &k.segments[b]
			return cmp.Or(cmp.Compare(x.Pool, y.Pool), cmp.Compare(y.Seconds, x.Seconds))
		})
	}
	return order
}
