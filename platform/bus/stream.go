package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

// Names of the streams, for monitoring.
const (
	StreamJobs = "JOBS"
	StreamWork = "WORK"
)

const (
	intakeSubject  = "jobs.intake"
	workPrefix     = "work"
	assemblePrefix = "work.assemble"
	hintPrefix     = "hint.job"

	intakeConsumer   = "intake"
	assembleConsumer = "assemble"

	setupTimeout = 60 * time.Second // a cluster needs some ten seconds to elect a leader
	setupPause   = 250 * time.Millisecond
	// An unacknowledged message holds one slot; more than the window of released work ever needs.
	maxAckPending  = 20_000
	maxWaiting     = 2_048                  // pull requests of one consumer, one or two a worker
	recreateNotFor = 5 * time.Second        // between two creations of one consumer: they are dear
	shortestDup    = 100 * time.Millisecond // we send no message ids, so nothing needs remembering
)

var errSetupTimeout = errors.New("JetStream was not ready in time")

// Setup creates the streams and the two consumers that always exist, or
// brings them in line with the Config. Any number of processes may call it. It
// tries again while the servers have no leader yet.
func (b *Bus) Setup(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, setupTimeout, errSetupTimeout)
	defer cancel()
	for {
		err := b.setupOnce(ctx)
		if err == nil || job.KindOf(err) != job.Unavailable || permanent(err) {
			return err
		}
		if wait(ctx, setupPause) != nil {
			return classify("bus.Setup", errors.Join(context.Cause(ctx), err))
		}
	}
}

// permanent reports an answer that says the request itself is wrong.
func permanent(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code >= 400 && api.Code < 500 && api.Code != 404 && api.Code != 408 && api.Code != tooManyRequests
}

func (b *Bus) setupOnce(ctx context.Context) error {
	jobs := jetstream.StreamConfig{
		Name: StreamJobs, Subjects: []string{intakeSubject}, Description: "envelopes of accepted jobs until Postgres has them",
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		MaxBytes: b.cfg.JobsBytes, MaxMsgSize: MaxMessageBytes, Replicas: b.cfg.Replicas, Duplicates: shortestDup,
	}
	work := jetstream.StreamConfig{
		Name: StreamWork, Subjects: []string{workPrefix + ".>"}, Description: "the released window of work",
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, DiscardNewPerSubject: true,
		MaxBytes: b.cfg.WorkBytes, MaxMsgs: b.cfg.WorkMsgs, MaxMsgSize: MaxMessageBytes, Replicas: b.cfg.Replicas, Duplicates: shortestDup,
	}
	for _, cfg := range []jetstream.StreamConfig{jobs, work} {
		if _, err := b.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return classify("bus.Setup", fmt.Errorf("stream %s: %w", cfg.Name, err))
		}
	}
	for _, c := range []route{intakeRoute(), assembleRoute()} {
		if _, err := b.consumer(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// route names a durable consumer and what it takes.
type route struct{ stream, name, filter string }

func intakeRoute() route { return route{StreamJobs, intakeConsumer, intakeSubject} }

func assembleRoute() route { return route{StreamWork, assembleConsumer, assemblePrefix + ".*"} }

func workRoute(pool string, class job.Class) (route, error) {
	if !poolName.MatchString(pool) || class != job.Interactive && class != job.Bulk {
		return route{}, &job.Error{Op: "bus.route", Kind: job.Invalid, Err: fmt.Errorf("pool %q, class %q", pool, class)}
	}
	return route{StreamWork, fmt.Sprintf("work_%s_%s", pool, class), fmt.Sprintf("%s.%s.%s.*", workPrefix, pool, class)}, nil
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
	c, err := b.js.CreateOrUpdateConsumer(ctx, r.stream, jetstream.ConsumerConfig{
		Durable: r.name, FilterSubject: r.filter, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: b.cfg.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending, MaxWaiting: maxWaiting,
	})
	if err != nil {
		return nil, classify("bus.consumer", fmt.Errorf("consumer %s: %w", r.name, err))
	}
	b.consumers.known[r.name], b.consumers.created[r.name] = c, time.Now()
	return c, nil
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

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
