package release

import (
	"context"
	"fmt"
	"maps"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// blocks keeps the blocks at the head of queues that are being served, up to a
// number of bytes; what is read again costs a millisecond at most.
type blocks struct {
	room  int // bytes left
	known map[store.BlockID]*block
	ages  []store.BlockID // in the order in which they came
}

// block is a block in the order of release.
type block struct {
	*store.Block
	order []int // segment index by turn
}

func newBlocks(bytes int) *blocks { return &blocks{room: bytes, known: map[store.BlockID]*block{}} }

func (c *blocks) put(b *store.Block) (*block, error) {
	order := make([]int, len(b.Segments))
	seen := make([]bool, len(b.Segments))
	for i, t := range b.Turns {
		if int(t) >= len(order) || seen[t] {
			return nil, fmt.Errorf("block %d of job %d: its turns are no order", b.B, b.Job)
		}
		seen[t], order[t] = true, i
	}
	k := &block{Block: b, order: order}
	if _, ok := c.known[b.BlockID]; ok {
		return k, nil
	}
	c.known[b.BlockID] = k
	c.ages = append(c.ages, b.BlockID)
	for c.room -= b.Bytes; c.room < 0 && len(c.ages) > 1; {
		c.drop(c.ages[0])
	}
	return k, nil
}

// drop forgets a block, the oldest first; one that is through is dropped by its turn.
func (c *blocks) drop(id store.BlockID) {
	if b := c.known[id]; b != nil {
		c.room += b.Bytes
		delete(c.known, id)
	}
	for len(c.ages) > 0 && c.known[c.ages[0]] == nil {
		c.ages = c.ages[1:]
	}
}

// load sees to it that the blocks are there, as far as they exist, with the
// terms of their jobs. It returns them, whatever the cache forgets meanwhile.
func (l *loop) load(ctx context.Context, ids []store.BlockID) (map[store.BlockID]*block, error) {
	got := make(map[store.BlockID]*block, len(ids))
	var ask []store.BlockID
	var nums []int64
	for _, id := range ids {
		if _, ok := got[id]; ok {
			continue
		}
		if got[id] = l.blocks.known[id]; got[id] == nil {
			ask = append(ask, id)
		}
		if _, ok := l.terms[id.Job]; !ok {
			nums = append(nums, id.Job)
		}
	}
	if len(nums) > 0 {
		terms, err := l.store.Terms(ctx, nums)
		if err != nil {
			return nil, fmt.Errorf("read the terms of %d jobs: %w", len(nums), err)
		}
		maps.Copy(l.terms, terms)
	}
	if len(ask) == 0 {
		return got, nil
	}
	read, err := l.store.Blocks(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("read %d blocks: %w", len(ask), err)
	}
	for _, b := range read {
		if got[b.BlockID], err = l.blocks.put(b); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// limits bound one bundle.
type limits struct {
	segments int
	seconds  float64
	bytes    int
}

// piece is what one turn takes out of a block.
type piece struct {
	segments []int   // indices in the block, in the order of release; empty if nothing is left of the pool
	later    []int   // passed: somebody speaks the same already
	next     int     // position after it
	passed   float64 // predicted seconds of all that it passed
	seconds  float64 // of those that go out
}

// cut takes the next bundle of a pool out of b, from position on. speaking tells
// which renditions are being made.
func (b *block) cut(pool string, position int, lim limits, speaking func([32]byte) bool) piece {
	base := bus.BlockSegments * b.B
	p := piece{next: max(position, base)}
	size := 0
	mine := map[[32]byte]bool{}
	for ; p.next-base < len(b.order); p.next++ {
		i := b.order[p.next-base]
		if b.Pools[i] != pool || b.Reused>>i&1 == 1 {
			continue
		}
		g := &b.Segments[i]
		if speaking(b.Keys[i]) || mine[b.Keys[i]] {
			p.later, p.passed = append(p.later, i), p.passed+g.PredictedSeconds
			continue
		}
		size += g.Size()
		if len(p.segments) > 0 && (len(p.segments) >= lim.segments || p.seconds+g.PredictedSeconds > lim.seconds || size > lim.bytes) {
			return p
		}
		mine[b.Keys[i]] = true
		p.segments = append(p.segments, i)
		p.seconds, p.passed = p.seconds+g.PredictedSeconds, p.passed+g.PredictedSeconds
	}
	p.next = base + bus.BlockSegments
	return p
}

// mask returns the bits of segments.
func mask(segments []int) (m uint64) {
	for _, i := range segments {
		m |= 1 << i
	}
	return m
}

// message returns what travels for the segments of b that are in the mask, the
// one that names the bundle first.
func (l *loop) message(b *block, o *bundle) bus.Bundle {
	t := l.terms[o.Job]
	m := bus.Bundle{
		JobID: o.owner.ID, Job: o.Job, Attempt: o.Attempt, Tenant: o.owner.Tenant, Class: o.owner.Class, Pool: o.pool,
		Speed: t.Speed, Seed: t.Seed, Instructions: t.Instructions, Solo: o.solo, Last: o.last, Spared: o.spared,
		Verify: t.Verify, OnDoubt: t.OnDoubt,
	}
	first := (o.N - 1) % bus.BlockSegments
	if seed, ok := b.Seeds[first]; ok { // it comes again by itself, so no other segment is in the bundle
		m.Seed = seed
	}
	for _, i := range b.order {
		if o.left>>i&1 == 1 && i != first {
			m.Segments = append(m.Segments, b.Segments[i])
		}
	}
	if first < len(b.Segments) {
		m.Segments = append([]bus.Segment{b.Segments[first]}, m.Segments...)
	}
	return m
}
