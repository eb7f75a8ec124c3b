package bus

import (
	"context"
	"errors"
	"log/slog"
	"math"

	"github.com/nats-io/nats.go"

	"github.com/voicemill/voicemill/job"
)

const (
	settledSubject  = "note.settled"
	capacitySubject = "note.capacity"
	noteBacklog     = 1_024 // messages a slow receiver has waiting; the rest is dropped

	// MaxSettled is how many notes travel in one message; [Bus.TellSettled] sends as many as it takes.
	MaxSettled = 256
)

// Settled notes that a worker is through with one segment of a bundle, in
// whatever way: done, failed, or to be tried again.
type Settled struct {
	Job       int64      `json:"job"`
	N         int        `json:"n"`
	Attempt   int        `json:"attempt"`
	Tenant    job.Tenant `json:"tenant"`
	Class     job.Class  `json:"class"`
	Pool      string     `json:"pool"`      // [PoolAssemble] for a join, [PoolEncode] for an encoding
	Predicted float64    `json:"predicted"` // seconds of audio
	Actual    float64    `json:"actual"`    // seconds of audio; 0 if none was made
}

// Capacity is what one worker can take in one pool. It reports it each second;
// whoever is silent for some seconds is gone.
type Capacity struct {
	Worker  string  `json:"worker"`  // tells processes apart
	Pool    string  `json:"pool"`    // [PoolAssemble] for joins, [PoolEncode] for encodings
	Slots   int     `json:"slots"`   // segments that it takes at a time: calls × batch
	Spared  int     `json:"spared"`  // of these, what bulk work does not get now
	Batch   int     `json:"batch"`   // segments of one engine call at most
	Static  bool    `json:"static"`  // a call ends with its longest segment; else segments come and go one by one
	Goodput float64 `json:"goodput"` // predicted seconds of audio that it makes a second; 0 while unknown
	// ColdStart is how many seconds passed from its start until the pool took work; 0 while it has not.
	ColdStart float64 `json:"cold_start,omitempty"`
}

// notes are what a message of Settled holds.
type notes []Settled

func (n notes) validate() error {
	if len(n) > MaxSettled {
		return errors.New("too many notes in one message")
	}
	for _, s := range n {
		if s.Job < 1 || s.N < 0 || s.Attempt < 1 || s.Pool == "" || !sane(s.Predicted) || !sane(s.Actual) {
			return errors.New("not a note of a settled segment")
		}
	}
	return nil
}

func (c Capacity) validate() error {
	if c.Worker == "" || !poolName.MatchString(c.Pool) || c.Slots < 0 || c.Spared < 0 || c.Spared > c.Slots || c.Batch < 0 || !sane(c.Goodput) || !sane(c.ColdStart) {
		return errors.New("not a report of capacity")
	}
	return nil
}

// sane keeps a number that came over the wire from spoiling every sum it enters.
func sane(seconds float64) bool { return seconds >= 0 && seconds < 1e6 && !math.IsNaN(seconds) }

// TellSettled tells whoever listens now that segments are settled. It is lossy,
// like [Bus.Hint]: what is true stands in Postgres.
func (b *Bus) TellSettled(settled []Settled) {
	for len(settled) > 0 {
		n := min(len(settled), MaxSettled)
		b.tell(settledSubject, notes(settled[:n]))
		settled = settled[n:]
	}
}

// TellCapacity tells whoever listens now what a worker can take. It is lossy.
func (b *Bus) TellCapacity(c Capacity) { b.tell(capacitySubject, c) }

func (b *Bus) tell(subject string, v message) {
	if data, err := encode(v); err == nil {
		_ = b.nc.Publish(subject, data) // lossy by contract
	}
}

// Notes calls settled and capacity for what is told from now on, one call at a
// time, until ctx is done; then it returns nil. When they are slower than notes
// come, notes are dropped.
func (b *Bus) Notes(ctx context.Context, settled func([]Settled), capacity func(Capacity)) error {
	sub, err := b.nc.SubscribeSync("note.*")
	if err != nil {
		return classify("bus.Notes", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := sub.SetPendingLimits(noteBacklog, -1); err != nil {
		return classify("bus.Notes", err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrSlowConsumer):
			b.log.DebugContext(ctx, "notes dropped")
			continue
		case err != nil:
			return classify("bus.Notes", err)
		}
		if err := hear(m, settled, capacity); err != nil {
			b.malformed.Add(1)
			b.log.DebugContext(ctx, "note ignored", slog.String("error", err.Error()))
		}
	}
}

func hear(m *nats.Msg, settled func([]Settled), capacity func(Capacity)) error {
	switch m.Subject {
	case settledSubject:
		n, err := decode[notes](m.Data)
		if err == nil && settled != nil {
			settled(n)
		}
		return err
	case capacitySubject:
		c, err := decode[Capacity](m.Data)
		if err == nil && capacity != nil {
			capacity(c)
		}
		return err
	}
	return nil // a newer sender's
}
