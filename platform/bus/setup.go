package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	setupTimeout = 60 * time.Second       // a cluster needs some ten seconds to elect a leader
	setupPause   = 100 * time.Millisecond // after the first try; it doubles
	setupPauseTo = 2 * time.Second
	// One request of a setup. An answer takes milliseconds, the making of a
	// replicated stream some hundred; a cluster without a leader gives none.
	tryTimeout = 3 * time.Second
	// A question that costs a healthy server nothing. Nobody answers for a stream
	// or a consumer without a leader, and one may be elected right after it was asked.
	lookTimeout = time.Second
	// A third server that has not joined by then is taken not to exist.
	thirdServerWait = 10 * time.Second
	clusterCopies   = 3
)

var (
	errSetupTimeout = errors.New("JetStream was not ready in time")
	errNoAnswer     = errors.New("JetStream gave no answer in time")
)

// Setup looks whether the servers keep what they acknowledge, then creates the
// streams and the consumer of JOBS, or brings them in line with
// the Config. Any number of processes may call it. Servers that are still on
// their way are waited for, for a minute, and the log says what for.
func (b *Bus) Setup(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, setupTimeout, errSetupTimeout)
	defer cancel()
	began, last := time.Now(), ""
	for pause := setupPause; ; pause = min(2*pause, setupPauseTo) {
		err := b.setupOnce(ctx, time.Since(began))
		if err == nil || permanent(err) {
			return err
		}
		if text := cause(err); text != last && ctx.Err() == nil {
			last = text
			b.log.WarnContext(ctx, "JetStream is waited for", slog.Duration("since", time.Since(began)), slog.String("error", text))
		}
		if !lifecycle.Sleep(ctx, pause/2+rand.N(pause/2)) { //nolint:gosec // spreads the processes that start together
			return classify("bus.Setup", errors.Join(context.Cause(ctx), err))
		}
	}
}

// cause is what an operator wants to read of err.
func cause(err error) string {
	if e, ok := errors.AsType[*job.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// permanent reports an answer that another try would meet again.
func permanent(err error) bool {
	if k := job.KindOf(err); k != job.Unavailable && k != job.Overloaded {
		return true
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code >= 400 && api.Code < 500 && api.Code != 404 && api.Code != 408 &&
		api.Code != tooManyRequests && api.ErrorCode != codeNoPeers && api.ErrorCode != jetstream.JSErrCodeStreamNameInUse
}

func (b *Bus) setupOnce(ctx context.Context, waited time.Duration) error {
	if err := b.examine(ctx, waited); err != nil {
		return err
	}
	for _, s := range []struct {
		name  string
		shape func(*jetstream.StreamConfig)
	}{{StreamJobs, b.shapeJobs}, {StreamWork, b.shapeWork}, {StreamParked, b.shapeParked}} {
		if _, err := b.ensure(ctx, s.name, s.shape, waited); err != nil {
			return classify("bus.Setup", fmt.Errorf("stream %s: %w", s.name, err))
		}
	}
	_, err := b.consumer(ctx, intakeRoute())
	return err
}

// ask bounds one request by tryTimeout and by the connection: one that was lost,
// as while a cluster forms, must not take the whole time that there is.
func ask[T any](ctx context.Context, b *Bus, request func(context.Context) (T, error)) (T, error) {
	return askFor(ctx, b, tryTimeout, request)
}

func askFor[T any](ctx context.Context, b *Bus, d time.Duration, request func(context.Context) (T, error)) (T, error) {
	try, cancel := b.withLine(ctx, d)
	defer cancel()
	got, err := request(try)
	if err != nil && try.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w: %w", errNoAnswer, context.Cause(try), err)
	}
	return got, err
}

// ensure makes the stream what shape says. It asks first: an update that changes
// nothing costs the server several fsyncs all the same, which a start would wait
// for. What shape does not set stays as an operator made it.
func (b *Bus) ensure(ctx context.Context, name string, shape func(*jetstream.StreamConfig), waited time.Duration) (*jetstream.StreamInfo, error) {
	have, err := ask(ctx, b, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return b.create(ctx, name, shape, waited)
	}
	if err != nil {
		return nil, err
	}
	old := have.CachedInfo().Config
	want := old
	shape(&want)
	if want.Storage != old.Storage { // only WORK ever changed it, and what it holds is released again
		_, err := ask(ctx, b, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.js.DeleteStream(ctx, name) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		return b.create(ctx, name, shape, waited)
	}
	if b.cfg.Replicas != 0 && b.cfg.Replicas != want.Replicas {
		b.log.WarnContext(ctx, "the setting changes the copies of a stream", slog.String("stream", name),
			slog.Int("from", want.Replicas), slog.Int("to", b.cfg.Replicas))
		want.Replicas = b.cfg.Replicas
	}
	if !reflect.DeepEqual(want, old) {
		if err := b.update(ctx, want); err != nil {
			return nil, err
		}
	}
	if b.cfg.Replicas == 0 && have.CachedInfo().Cluster != nil {
		b.raise(ctx, want)
	}
	return have.CachedInfo(), nil
}

// create makes a stream that is missing. If another process is quicker, the next
// try finds its stream.
func (b *Bus) create(ctx context.Context, name string, shape func(*jetstream.StreamConfig), waited time.Duration) (*jetstream.StreamInfo, error) {
	want := jetstream.StreamConfig{Name: name}
	shape(&want)
	if want.Storage == jetstream.MemoryStorage {
		want.FirstSeq = sequence()
	}
	want.Replicas = b.cfg.Replicas
	if want.Replicas == 0 {
		want.Replicas = b.view().copies(waited)
	}
	attempt := func(ctx context.Context) (jetstream.Stream, error) { return b.js.CreateStream(ctx, want) }
	made, err := ask(ctx, b, attempt)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeNotClustered && b.cfg.Replicas == 0 {
		want.Replicas = 1
		made, err = ask(ctx, b, attempt)
	}
	if err != nil {
		return nil, err
	}
	b.log.InfoContext(ctx, "stream created", slog.String("stream", name), slog.Int("replicas", want.Replicas))
	return made.CachedInfo(), nil
}

// raise gives a stream more copies if there are servers to hold them. It never
// takes one away: which process starts last decides nothing. A cluster that
// cannot do so now serves as before, and the next start tries again.
func (b *Bus) raise(ctx context.Context, stream jetstream.StreamConfig) {
	v := b.view()
	if stream.Replicas >= clusterCopies || v.seen && v.size < clusterCopies {
		return
	}
	from := stream.Replicas
	stream.Replicas = clusterCopies
	log := b.log.With(slog.String("stream", stream.Name), slog.Int("from", from), slog.Int("to", stream.Replicas))
	if err := b.update(ctx, stream); err != nil {
		log.WarnContext(ctx, "the stream has fewer copies than the cluster could hold", slog.String("error", err.Error()))
		return
	}
	log.InfoContext(ctx, "the stream has more copies now")
}

func (b *Bus) update(ctx context.Context, want jetstream.StreamConfig) error {
	_, err := ask(ctx, b, func(ctx context.Context) (jetstream.Stream, error) { return b.js.UpdateStream(ctx, want) })
	return err
}
