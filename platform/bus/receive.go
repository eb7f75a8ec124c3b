package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

// Delivery is one delivery of a message. Whoever got it settles it, with Ack
// or Nak, and calls InProgress meanwhile, every third of Config.AckWait;
// otherwise the message is delivered again, here or elsewhere.
type Delivery[T any] struct {
	Value      T
	Deliveries int // how often this message was delivered, this time included
	msg        jetstream.Msg
}

// Ack ends the message and returns when the server has noted it durably. It is
// safe to call from several goroutines for different deliveries: many at once
// cost little more than one.
func (d Delivery[T]) Ack(ctx context.Context) error {
	return classify("bus.Ack", ackError(d.msg.DoubleAck(ctx)))
}

// Nak gives the message back; it is delivered again at once. It does not wait.
func (d Delivery[T]) Nak() error { return classify("bus.Nak", ackError(d.msg.Nak())) }

// InProgress keeps the message for another Config.AckWait. It does not wait.
func (d Delivery[T]) InProgress() error {
	return classify("bus.InProgress", ackError(d.msg.InProgress()))
}

// ackError takes settling twice as done.
func ackError(err error) error {
	if errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return nil
	}
	return err
}

// pullSlice bounds one pull request, so that a stop is noticed and nothing
// that the server sends meanwhile is lost on the way.
const pullSlice = time.Second

// FetchWork takes up to n bundles of a pool and class. It returns as soon as
// there is one, with what else is there at that moment, and an empty slice
// after wait; a wait of zero does not wait at all. When ctx ends meanwhile it
// returns within a second, with ctx's error; what arrived is given back.
func (b *Bus) FetchWork(ctx context.Context, pool string, class job.Class, n int, wait time.Duration) ([]Delivery[Bundle], error) {
	r, err := workRoute(pool, class)
	if err != nil {
		return nil, err
	}
	return fetch[Bundle](ctx, b, r, n, wait)
}

// FetchAssembly is [Bus.FetchWork] for the joining of chapters and jobs of a class.
func (b *Bus) FetchAssembly(ctx context.Context, class job.Class, n int, wait time.Duration) ([]Delivery[Assembly], error) {
	return b.fetchAssembly(ctx, PoolAssemble, class, n, wait)
}

// FetchEncoding is [Bus.FetchWork] for the encoding of chapters and jobs of a class.
func (b *Bus) FetchEncoding(ctx context.Context, class job.Class, n int, wait time.Duration) ([]Delivery[Assembly], error) {
	return b.fetchAssembly(ctx, PoolEncode, class, n, wait)
}

func (b *Bus) fetchAssembly(ctx context.Context, pool string, class job.Class, n int, wait time.Duration) ([]Delivery[Assembly], error) {
	r, err := classRoute(pool, class)
	if err != nil {
		return nil, err
	}
	return fetch[Assembly](ctx, b, r, n, wait)
}

// WorkPending returns how many bundles of a pool and class wait in WORK and
// how many are with workers.
func (b *Bus) WorkPending(ctx context.Context, pool string, class job.Class) (pending, ackPending int, err error) {
	r, err := workRoute(pool, class)
	if err != nil {
		return 0, 0, err
	}
	c, err := b.consumer(ctx, r)
	if err != nil {
		return 0, 0, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		b.forget(ctx, r, err)
		return 0, 0, classify("bus.WorkPending", err)
	}
	return int(info.NumPending), info.NumAckPending, nil //nolint:gosec // bounded by Config.WorkMsgs
}

func fetch[T message](ctx context.Context, b *Bus, r route, n int, wait time.Duration) ([]Delivery[T], error) {
	c, err := b.consumer(ctx, r)
	if err != nil {
		return nil, err
	}
	msgs, err := b.pull(ctx, c, n, wait)
	if err != nil {
		b.forget(ctx, r, err)
		return nil, classify("bus.Fetch", err)
	}
	out := make([]Delivery[T], 0, len(msgs))
	for _, m := range msgs {
		if d, ok := read[T](ctx, b, m); ok {
			out = append(out, d)
		}
	}
	return out, nil
}

// pull takes what is there, else waits for one message and takes what came with it.
func (b *Bus) pull(ctx context.Context, c jetstream.Consumer, n int, wait time.Duration) ([]jetstream.Msg, error) {
	if n < 1 {
		return nil, nil
	}
	got, err := collect(c.FetchNoWait(n))
	deadline := time.Now().Add(wait)
	for err == nil && len(got) == 0 {
		left := min(time.Until(deadline), pullSlice)
		if left < time.Millisecond {
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if got, err = b.awaitOne(ctx, c, left); err == nil && len(got) == 1 && n > 1 {
			more, moreErr := collect(c.FetchNoWait(n - 1))
			got, err = append(got, more...), moreErr
		}
	}
	if len(got) > 0 && ctx.Err() != nil {
		for _, m := range got {
			_ = m.Nak() // else it comes again after AckWait
		}
		return nil, context.Cause(ctx)
	}
	if len(got) > 0 {
		return got, nil // an error would come again
	}
	return nil, err
}

// awaitOne waits for one message, as long as the connection stands: an answer to
// what was asked before it was lost never comes.
func (b *Bus) awaitOne(ctx context.Context, c jetstream.Consumer, wait time.Duration) ([]jetstream.Msg, error) {
	ctx, cancel := b.withLine(context.WithoutCancel(ctx), wait)
	defer cancel()
	end, _ := ctx.Deadline()
	got, err := collect(c.Fetch(1, jetstream.FetchContext(ctx)))
	switch {
	case len(got) > 0:
		return got, nil
	case errors.Is(context.Cause(ctx), nats.ErrDisconnected):
		return nil, nats.ErrDisconnected
	case errors.Is(err, context.DeadlineExceeded):
		return nil, nil
	case errors.Is(err, jetstream.ErrInvalidOption) && !time.Now().Before(end): // on a busy machine the wait is over before it was asked for
		return nil, nil
	}
	return nil, err
}

// collect waits for the end of one pull request: nothing it brings may be left behind.
func collect(batch jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, err
	}
	var got []jetstream.Msg
	for m := range batch.Messages() {
		got = append(got, m)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return got, err
	}
	return got, nil
}

// read decodes one message. A malformed one is counted and logged; an envelope is
// parked, all else is ended, since Postgres knows of it.
func read[T message](ctx context.Context, b *Bus, m jetstream.Msg) (Delivery[T], bool) {
	v, err := decode[T](m.Data())
	if err == nil {
		d := Delivery[T]{Value: v, Deliveries: 1, msg: m}
		if meta, err := m.Metadata(); err == nil {
			d.Deliveries = int(meta.NumDelivered) //nolint:gosec // counts by one
		}
		return d, true
	}
	b.malformed.Add(1)
	if m.Subject() == intakeSubject {
		b.parkEnvelope(ctx, m, err)
		return Delivery[T]{}, false
	}
	b.log.ErrorContext(ctx, "message ended: it cannot be read", slog.String("subject", m.Subject()),
		slog.Int("bytes", len(m.Data())), slog.String("error", err.Error()))
	if err := m.TermWithReason("malformed"); err != nil {
		b.log.WarnContext(ctx, "malformed message not ended", slog.String("subject", m.Subject()), slog.String("error", err.Error()))
	}
	return Delivery[T]{}, false
}
