package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

// PublishEnvelope stores one marshalled [Envelope] and returns when the server
// has acknowledged it, that is, when it is on disk (or replicated and on disk).
// Unavailable means that the outcome is unknown: the envelope may be stored,
// and publishing it again is harmless. Overloaded means that JOBS is full.
// Without a deadline in ctx it waits five seconds at most.
func (b *Bus) PublishEnvelope(ctx context.Context, data []byte) error {
	if len(data) > MaxMessageBytes {
		return &job.Error{
			Op: "bus.PublishEnvelope", Kind: job.TooLarge, Public: sayLarge,
			Err: fmt.Errorf("envelope has %d bytes; want at most %d", len(data), MaxMessageBytes),
		}
	}
	_, err := b.js.Publish(ctx, intakeSubject, data)
	return classify("bus.PublishEnvelope", err)
}

// ProbeIntake stores a message in JOBS as an envelope would be, takes it out again,
// and reports what kept it from being stored: a server that is away, a disk or a
// stream that is full. It is no rollup: the purge behind one holds a lock of the
// server's (2.15.2) that it needs again when the disk is full, for ever. What a probe
// that is cut short leaves goes by itself.
func (b *Bus) ProbeIntake(ctx context.Context) error {
	const op = "bus.ProbeIntake"
	ack, err := b.js.Publish(ctx, probeSubject, nil, jetstream.WithMsgTTL(probeStays))
	if err != nil {
		return classify(op, err)
	}
	stream, err := b.js.Stream(ctx, StreamJobs)
	if err != nil {
		return classify(op, err)
	}
	if err := stream.DeleteMsg(ctx, ack.Sequence); !errors.Is(err, jetstream.ErrMsgNotFound) {
		return classify(op, err)
	}
	return nil
}

// PublishWork releases bundles. It returns one result for each, nil once WORK
// has it; one that is there already counts as released. TooLarge means that the
// bundle has to be split. Publishes overlap, at most 256 of one Bus at a time.
func (b *Bus) PublishWork(ctx context.Context, bundles []Bundle) []error {
	return publishAll(ctx, b, bundles, Bundle.subject)
}

// PublishAssembly is [Bus.PublishWork] for the joining of chapters and jobs.
func (b *Bus) PublishAssembly(ctx context.Context, items []Assembly) []error {
	return publishAll(ctx, b, items, Assembly.subject)
}

type outstanding struct {
	item   int
	future jetstream.PubAckFuture
}

func publishAll[T message](ctx context.Context, b *Bus, items []T, subject func(T) string) []error {
	errs := make([]error, len(items))
	var open []outstanding
	settle := func() {
		errs[open[0].item] = b.settle(ctx, open[0].future)
		open = open[1:]
	}
	for i, item := range items {
		data, err := encode(item)
		if err != nil {
			errs[i] = err
			continue
		}
		for taken := false; !taken; {
			if taken, err = b.token(ctx, len(open) == 0); err != nil {
				break
			}
			if !taken {
				settle() // our own oldest is what holds a token
			}
		}
		if err != nil {
			errs[i] = classify("bus.Publish", err)
			continue
		}
		future, err := b.js.PublishAsync(subject(item), data)
		if err != nil {
			<-b.tokens
			errs[i] = classify("bus.Publish", err)
			continue
		}
		open = append(open, outstanding{i, future})
	}
	for len(open) > 0 {
		settle()
	}
	return errs
}

// token takes the right to one unacknowledged publish. When there is none it
// waits if block is set, and otherwise returns false.
func (b *Bus) token(ctx context.Context, block bool) (bool, error) {
	select {
	case b.tokens <- struct{}{}:
		return true, nil
	default:
	}
	if !block {
		return false, nil
	}
	select {
	case b.tokens <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// settle waits for one acknowledgement; the client gives it up after some time by itself.
func (b *Bus) settle(ctx context.Context, f jetstream.PubAckFuture) error {
	defer func() { <-b.tokens }()
	var err error
	select {
	case <-f.Ok():
		return nil
	case err = <-f.Err():
	case <-b.closed:
		err = nats.ErrConnectionClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if alreadyThere(err) {
		b.duplicates.Add(1)
		return nil
	}
	return classify("bus.Publish", err)
}

// PurgeJob removes all that WORK holds of a job: one that was cancelled. What a
// worker has in hand is not stopped by it.
func (b *Bus) PurgeJob(ctx context.Context, id job.ID) error {
	if !idToken.MatchString(string(id)) {
		return &job.Error{Op: "bus.PurgeJob", Kind: job.Invalid, Err: fmt.Errorf("job id %q cannot be part of a subject", id)}
	}
	stream, err := b.js.Stream(ctx, StreamWork)
	if err != nil {
		return classify("bus.PurgeJob", err)
	}
	return classify("bus.PurgeJob", stream.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("%s.*.*.%s.>", workPrefix, id))))
}
