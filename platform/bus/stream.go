package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

// Names of the streams, for monitoring.
const (
	StreamJobs   = "JOBS"
	StreamWork   = "WORK"
	StreamParked = "PARKED"
)

const (
	intakeSubject = "jobs.intake"
	probeSubject  = "jobs.probe" // which nobody takes, and which stays for a moment
	probeStays    = 5 * time.Second
	workPrefix    = "work"
	hintPrefix    = "hint.job"

	intakeConsumer = "intake"

	// An unacknowledged message holds one slot; more than what is released ever needs.
	maxAckPending  = 20_000
	maxWaiting     = 2_048                  // pull requests of one consumer, one or two a worker
	recreateNotFor = time.Second            // between two creations of one consumer: they are dear
	shortestDup    = 100 * time.Millisecond // we send no message ids, so nothing needs remembering
)

func (b *Bus) shapeJobs(c *jetstream.StreamConfig) {
	shape(c)
	c.Storage = jetstream.FileStorage
	c.Subjects, c.Description = []string{intakeSubject, probeSubject}, "envelopes of accepted jobs until Postgres has them"
	c.MaxBytes, c.AllowMsgTTL = b.cfg.JobsBytes, true
}

// shapeWork keeps WORK in memory: all that it holds can be released again out of
// Postgres, and a release that waits for no disk is thirty times as fast.
func (b *Bus) shapeWork(c *jetstream.StreamConfig) {
	shape(c)
	c.Storage = jetstream.MemoryStorage
	c.Subjects, c.Description = []string{workPrefix + ".>"}, "released work; Postgres can fill it again"
	c.MaxMsgsPerSubject, c.DiscardNewPerSubject = 1, true
	c.MaxBytes, c.MaxMsgs = b.cfg.WorkBytes, b.cfg.WorkMsgs
}

// shape sets what both streams share; how many copies there are is ensure's to say.
func shape(c *jetstream.StreamConfig) {
	c.Retention, c.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	c.MaxMsgSize, c.Duplicates = MaxMessageBytes, shortestDup
}

// sequence is where a life of WORK begins to count, later than all before: it
// takes less than a message a microsecond. What a worker had in hand when WORK
// was lost is acknowledged by its number alone, and must not hit another message.
func sequence() uint64 { return uint64(time.Now().UnixMicro()) } //nolint:gosec // after 1970

// Mark tells one life of WORK from another.
type Mark struct {
	created time.Time
	last    uint64 // sequence number of the newest message
	empty   bool
}

// Empty reports that nothing was in WORK.
func (m Mark) Empty() bool { return m.empty }

// LostSince reports whether m is of another life of WORK than before, or of the
// same after its messages were lost.
func (m Mark) LostSince(before Mark) bool {
	return !m.created.Equal(before.created) || m.last < before.last
}

// MarkWork returns the mark that WORK has now, and makes WORK anew if it is not
// there: a server that ends takes it along. It costs one request.
func (b *Bus) MarkWork(ctx context.Context) (Mark, error) {
	var i *jetstream.StreamInfo
	have, err := askFor(ctx, b, lookTimeout, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, StreamWork) })
	if err == nil {
		i = have.CachedInfo()
	} else if errors.Is(err, jetstream.ErrStreamNotFound) {
		i, err = b.create(ctx, StreamWork, b.shapeWork, thirdServerWait)
	}
	if err != nil {
		return Mark{}, classify("bus.MarkWork", fmt.Errorf("stream %s: %w", StreamWork, err))
	}
	return Mark{created: i.Created, last: i.State.LastSeq, empty: i.State.Msgs == 0}, nil
}

// RenewWork empties WORK after its messages were lost, and has it count from
// where it never counted before: a cluster whose servers all ended keeps the
// stream, and with it where it began. It returns the mark of the new life.
func (b *Bus) RenewWork(ctx context.Context) (Mark, error) {
	_, err := ask(ctx, b, func(ctx context.Context) (struct{}, error) {
		stream, err := b.js.Stream(ctx, StreamWork)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, stream.Purge(ctx, jetstream.WithPurgeSequence(sequence()))
	})
	if err != nil {
		return Mark{}, classify("bus.RenewWork", fmt.Errorf("stream %s: %w", StreamWork, err))
	}
	return b.MarkWork(ctx)
}

// route names a durable consumer and what it takes.
type route struct{ stream, name, filter string }

func intakeRoute() route { return route{StreamJobs, intakeConsumer, intakeSubject} }

func workRoute(pool string, class job.Class) (route, error) {
	if !validPool(pool) {
		return route{}, &job.Error{Op: "bus.route", Kind: job.Invalid, Err: fmt.Errorf("pool %q is not a name", pool)}
	}
	return classRoute(pool, class)
}

func classRoute(pool string, class job.Class) (route, error) {
	if class != job.Interactive && class != job.Bulk {
		return route{}, &job.Error{Op: "bus.route", Kind: job.Invalid, Err: fmt.Errorf("class %q is unknown", class)}
	}
	return route{StreamWork, fmt.Sprintf("work_%s_%s", pool, class), fmt.Sprintf("%s.%s.%s.>", workPrefix, pool, class)}, nil
}

// consumers remembers the durable consumers that this process uses, few: two a
// pool. held guards the maps and may be waited for with a context, since it is
// held while the server is asked.
type consumers struct {
	held    chan struct{}
	known   map[string]jetstream.Consumer
	created map[string]time.Time
}

func newConsumers() consumers {
	return consumers{held: make(chan struct{}, 1), known: map[string]jetstream.Consumer{}, created: map[string]time.Time{}}
}

// consumer returns the consumer of r, which it creates on first use.
func (b *Bus) consumer(ctx context.Context, r route) (jetstream.Consumer, error) {
	select {
	case b.consumers.held <- struct{}{}:
		defer func() { <-b.consumers.held }()
	case <-ctx.Done():
		return nil, classify("bus.consumer", ctx.Err())
	}
	if c, ok := b.consumers.known[r.name]; ok {
		return c, nil
	}
	if at, ok := b.consumers.created[r.name]; ok && time.Since(at) < recreateNotFor {
		return nil, &job.Error{Op: "bus.consumer", Kind: job.Unavailable, Public: sayAway, Err: fmt.Errorf("consumer %s was made %s ago and is lost", r.name, time.Since(at))}
	}
	c, err := b.ensureConsumer(ctx, r)
	if err != nil {
		return nil, classify("bus.consumer", fmt.Errorf("consumer %s: %w", r.name, err))
	}
	b.consumers.known[r.name], b.consumers.created[r.name] = c, time.Now()
	return c, nil
}

// ensureConsumer makes the consumer of r what this package wants, as ensure does a stream.
func (b *Bus) ensureConsumer(ctx context.Context, r route) (jetstream.Consumer, error) {
	want := jetstream.ConsumerConfig{Durable: r.name}
	have, err := askFor(ctx, b, lookTimeout, func(ctx context.Context) (jetstream.Consumer, error) { return b.js.Consumer(ctx, r.stream, r.name) })
	if err == nil {
		want = have.CachedInfo().Config
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	want.FilterSubject, want.AckPolicy, want.AckWait = r.filter, jetstream.AckExplicitPolicy, b.cfg.AckWait
	want.MaxDeliver, want.MaxAckPending, want.MaxWaiting = -1, maxAckPending, maxWaiting
	if err == nil && reflect.DeepEqual(want, have.CachedInfo().Config) {
		return have, nil
	}
	return ask(ctx, b, func(ctx context.Context) (jetstream.Consumer, error) {
		return b.js.CreateOrUpdateConsumer(ctx, r.stream, want)
	})
}

// forget makes the next use of r ask the server again, if err says that the consumer is gone.
func (b *Bus) forget(ctx context.Context, r route, err error) {
	if !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrConsumerDeleted) && !errors.Is(err, nats.ErrNoResponders) {
		return
	}
	select {
	case b.consumers.held <- struct{}{}:
		delete(b.consumers.known, r.name)
		<-b.consumers.held
	case <-ctx.Done():
	}
}
