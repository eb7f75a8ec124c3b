package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	parkedSubject = "parked.jobs"
	parkedReason  = "Voicemill-Reason" // header: why it was parked
	reasonBytes   = 1 << 10            // of it, at most
	parkAgain     = 30 * time.Second   // until a message comes again that could not be parked
	unparkAtMost  = 10_000             // messages that one Unpark looks at
)

// shapeParked keeps what was accepted and cannot be understood until somebody
// looks at it. At its bound nothing more is parked: it stays in JOBS.
func (b *Bus) shapeParked(c *jetstream.StreamConfig) {
	c.Storage, c.Retention, c.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	c.Subjects, c.Description = []string{"parked.>"}, "accepted jobs that could not be read or stored, to look at and to replay"
	c.MaxBytes, c.MaxMsgSize, c.Duplicates = b.cfg.ParkedBytes, MaxMessageBytes+4<<10, shortestDup
}

// Park keeps jobs that were accepted and cannot be stored.
func (b *Bus) Park(ctx context.Context, e Envelope, reason string) error {
	data, err := encode(e)
	if err != nil {
		return err
	}
	return b.park(ctx, data, reason)
}

func (b *Bus) park(ctx context.Context, data []byte, reason string) error {
	m := nats.NewMsg(parkedSubject)
	m.Data = data
	m.Header.Set(parkedReason, strings.ToValidUTF8(reason[:min(len(reason), reasonBytes)], ""))
	if _, err := ask(ctx, b, func(ctx context.Context) (*jetstream.PubAck, error) { return b.js.PublishMsg(ctx, m) }); err != nil {
		return classify("bus.Park", err)
	}
	return nil
}

// parkEnvelope moves an envelope that cannot be read out of the way. What cannot
// be parked stays and comes again: it is all that there is of accepted jobs.
func (b *Bus) parkEnvelope(ctx context.Context, m jetstream.Msg, why error) {
	log := b.log.With(slog.Int("bytes", len(m.Data())), slog.String("reason", why.Error()))
	if err := b.park(ctx, m.Data(), why.Error()); err != nil {
		log.ErrorContext(ctx, "envelope cannot be read nor parked; it stays in JOBS", slog.String("error", err.Error()))
		_ = m.NakWithDelay(parkAgain) // else it comes again after AckWait
		return
	}
	log.ErrorContext(ctx, "envelope cannot be read; it is parked", slog.String("stream", StreamParked))
	if err := m.DoubleAck(ctx); err != nil {
		log.WarnContext(ctx, "parked envelope not ended; it is parked again", slog.String("error", err.Error()))
	}
}

// Parked returns how many messages are parked.
func (b *Bus) Parked(ctx context.Context) (int, error) {
	s, err := ask(ctx, b, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, StreamParked) })
	if err != nil {
		return 0, classify("bus.Parked", err)
	}
	return int(s.CachedInfo().State.Msgs), nil //nolint:gosec // bounded by its bytes
}

// Unpark puts back into JOBS what can be read now, as after an upgrade, and
// returns how many messages that were. Jobs that were stored meanwhile are not
// stored twice.
func (b *Bus) Unpark(ctx context.Context) (int, error) {
	s, err := ask(ctx, b, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, StreamParked) })
	if err != nil {
		return 0, classify("bus.Unpark", err)
	}
	state, n := s.CachedInfo().State, 0
	for seq, looked := state.FirstSeq, 0; seq <= state.LastSeq && looked < unparkAtMost; seq, looked = seq+1, looked+1 {
		m, err := ask(ctx, b, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.GetMsg(ctx, seq) })
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // somebody dropped it
		}
		if err != nil {
			return n, classify("bus.Unpark", err)
		}
		if _, err := decode[Envelope](m.Data); err != nil {
			continue
		}
		_, err = ask(ctx, b, func(ctx context.Context) (*jetstream.PubAck, error) { return b.js.Publish(ctx, intakeSubject, m.Data) })
		if err == nil {
			_, err = ask(ctx, b, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.DeleteMsg(ctx, seq) })
		}
		if err != nil {
			return n, classify("bus.Unpark", fmt.Errorf("message %d: %w", seq, err))
		}
		n++
	}
	return n, nil
}
