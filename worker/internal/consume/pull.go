package consume

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
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
		msgs[i] = Message{Work: d.Value, Message: d}
	}
	return msgs, err
}

// arrival is what a puller brought for one ask; items may be empty.
type arrival struct {
	lane  *lane
	items []*Item
}

// pullPause is how long a puller rests after the bus failed.
const pullPause = time.Second

// pull answers the owner's asks until ctx is done. What it pulled it always
// hands over, so nothing waits for its lease to run out.
func (p *Pool) pull(ctx context.Context, l *lane) {
	lastErr := ""
	for {
		var limit int
		select {
		case <-ctx.Done():
			return
		case limit = <-l.ask:
		}
		msgs, err := p.source.Fetch(ctx, l.class, limit, p.cfg.Poll)
		p.got <- arrival{l, p.hold(l, msgs)} // the owner receives until every puller has returned
		if err == nil || ctx.Err() != nil {
			lastErr = ""
			continue
		}
		if text := err.Error(); text != lastErr {
			lastErr = text
			p.log.WarnContext(ctx, "work cannot be pulled", slog.String("class", string(l.class)), slog.String("error", text))
		}
		timer := time.NewTimer(pullPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// hold takes messages into care.
func (p *Pool) hold(l *lane, msgs []Message) []*Item {
	now := time.Now()
	items := make([]*Item, len(msgs))
	for i, m := range msgs {
		m.Work.Class = l.class
		name := fmt.Sprintf("%s-%d", m.Work.JobID, m.Work.N)
		items[i] = &Item{Work: m.Work, Since: now, Lease: p.keeper.Hold(m.Message, name, func() { p.change(func() { l.inHand-- }) })}
	}
	p.change(func() { l.inHand += len(items) })
	return items
}
