package consume

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Lane is a [Source] over the bus: the two lanes of one pool.
type Lane struct {
	Bus  *bus.Bus
	Pool string
}

// Fetch pulls from the bus.
func (s Lane) Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]Message, error) {
	got, err := s.Bus.FetchWork(ctx, s.Pool, class, limit, wait)
	msgs := make([]Message, len(got))
	for i, d := range got {
		msgs[i] = Message{Bundle: d.Value, Again: d.Deliveries > 1, Message: d}
	}
	return msgs, err
}

// arrival is what a puller brought for one ask; items may be empty.
type arrival struct {
	lane  *lane
	items []*Item
}

// A puller rests after the bus failed, longer each time: one that was restarted
// is back at once, and each that is away is asked twice a second.
const (
	pullPause   = 50 * time.Millisecond
	pullPauseTo = 500 * time.Millisecond
)

// pull answers the owner's asks until ctx is done. What it pulled it always
// hands over, so nothing waits for its lease to run out.
func (p *Pool) pull(ctx, work context.Context, l *lane) {
	lastErr, pause := "", pullPause
	for {
		var room int
		select {
		case <-ctx.Done():
			return
		case room = <-l.ask:
		}
		msgs, err := p.deps.Source.Fetch(ctx, l.class, max(1, room/l.size), p.cfg.Poll)
		p.got <- arrival{l, p.take(work, l, l.fit(msgs, room))} // the owner receives until every puller has returned
		if err == nil || ctx.Err() != nil {
			lastErr, pause = "", pullPause
			continue
		}
		if text := err.Error(); text != lastErr {
			lastErr = text
			p.log.WarnContext(ctx, "work cannot be pulled", slog.String("class", string(l.class)), slog.String("error", text))
		}
		if !lifecycle.Sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, pullPauseTo)
	}
}

// fit gives back what there is no room for: how large bundles are shows only when
// they are there. The first one always fits.
func (l *lane) fit(msgs []Message, room int) []Message {
	segments, fit := 0, 0
	for i, m := range msgs {
		if segments += len(m.Bundle.Segments); i == 0 || segments <= room {
			fit = i + 1
		} else {
			_ = m.Nak() // else it comes again after the ack wait
		}
	}
	if len(msgs) > 0 {
		l.size = (segments + len(msgs) - 1) / len(msgs)
	}
	return msgs[:fit]
}

// take claims the bundles of messages and takes what is left of them into care.
func (p *Pool) take(work context.Context, l *lane, msgs []Message) []*Item {
	msgs = p.adopt(msgs)
	if len(msgs) == 0 {
		return nil
	}
	claims := make([]store.Claim, len(msgs))
	for i, m := range msgs {
		claims[i] = store.Claim{Ref: store.RefOf(m.Bundle), Again: m.Again, Segments: m.Bundle.Segments}
	}
	found, err := p.deps.Claims.Claim(work, claims)
	if err != nil {
		p.report(work, fmt.Errorf("claim bundles: %w", err))
		for _, m := range msgs {
			_ = m.Nak() // else it comes again after the ack wait
		}
		return nil
	}
	claimed := make(map[store.Ref]store.Claimed, len(found))
	for _, c := range found {
		claimed[c.Ref] = c
	}
	var items []*Item
	var stale sync.WaitGroup
	for i, m := range msgs {
		got := p.hold(l, m, claimed[claims[i].Ref])
		if got == nil {
			stale.Go(func() { p.drop(work, m) })
		}
		items = append(items, got...)
	}
	stale.Wait()
	return items
}

// adopt lets the bundles that are in hand already have their newest message, and
// returns the others: what WORK lost was published again, or a lease ran out.
func (p *Pool) adopt(msgs []Message) []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := msgs[:0]
	for _, m := range msgs {
		b := p.held[store.RefOf(m.Bundle)]
		if b == nil || !b.lease.Adopt(claimed{m.Message, b, p}) {
			rest = append(rest, m)
		}
	}
	return rest
}

// drop acknowledges a message that nobody waits for: its job was cancelled, or
// another worker was faster.
func (p *Pool) drop(ctx context.Context, m Message) {
	if err := m.Ack(ctx); err != nil {
		p.log.DebugContext(ctx, "a message that is not wanted will come again", slog.String("error", err.Error()))
	}
}

// hold takes what is left of one bundle into care; nil if nothing is.
func (p *Pool) hold(l *lane, m Message, c store.Claimed) []*Item {
	b := &Bundle{Bundle: m.Bundle, Claim: c}
	b.Class = l.class
	var items []*Item
	for _, g := range m.Bundle.Segments {
		if c.Wants(g.N) {
			items = append(items, &Item{Bundle: b, Segment: g, Since: time.Now()})
		}
	}
	if len(items) == 0 {
		return nil
	}
	b.begun.Store(!c.Suspect())
	name := fmt.Sprintf("%s-%d", b.JobID, b.N())
	b.lease = p.deps.Keeper.Hold(claimed{m.Message, b, p}, name, func() {
		p.change(func() {
			if p.held[c.Ref] == b {
				delete(p.held, c.Ref)
			}
		})
	})
	settled := func() {
		p.spared(time.Now()) // counts from here, if it is the last interactive one
		l.inHand--
	}
	for i, part := range b.lease.Parts(len(items), func() { p.change(settled) }) {
		items[i].Lease = part
	}
	p.change(func() {
		l.inHand += len(items)
		p.held[c.Ref] = b
	})
	return items
}
