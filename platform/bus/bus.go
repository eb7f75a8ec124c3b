package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

var errConnectTimeout = errors.New("no NATS server answered in time")

// Stats counts what a Bus has seen since it connected.
type Stats struct {
	Malformed  uint64 // messages that were ended because nobody could read them
	Duplicates uint64 // publishes refused because the message was there already
	Reconnects uint64
}

// Bus is one connection to NATS. It is safe for concurrent use. It reconnects
// for ever; calls made meanwhile fail at once with kind Unavailable.
type Bus struct {
	cfg       Config
	log       *slog.Logger
	nc        *nats.Conn
	js        jetstream.JetStream
	tokens    chan struct{} // one for each publish that is not acknowledged yet
	consumers consumers
	closed    chan struct{} // closed by the client when the connection is gone for good
	closeOnce sync.Once

	viewMu sync.Mutex
	last   view // guarded by viewMu

	lineMu sync.Mutex
	line   chan struct{} // guarded by lineMu; closed when the connection that stands now is lost

	malformed, duplicates, reconnects atomic.Uint64
}

// Provider is an embedded server; package natsd has one.
type Provider interface {
	InProcessConn() (net.Conn, error)
}

// Option changes how [Connect] connects.
type Option func(*[]nats.Option)

// InProcess connects to a server in this process and ignores Config.URL.
func InProcess(p Provider) Option {
	return func(opts *[]nats.Option) { *opts = append(*opts, nats.InProcessServer(p)) }
}

// Connect returns a connected Bus. While no server answers it keeps trying,
// for cfg.ConnectWait or until ctx is done. The caller closes the Bus.
func Connect(ctx context.Context, cfg Config, log *slog.Logger, options ...Option) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	b := &Bus{cfg: cfg, log: log, tokens: make(chan struct{}, maxOutstanding), closed: make(chan struct{}), line: make(chan struct{})}
	b.consumers = newConsumers()
	connected := make(chan struct{}, 1)
	opts := b.natsOptions(ctx, connected)
	for _, o := range options {
		o(&opts)
	}
	var err error
	if b.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, classify("bus.Connect", err)
	}
	wait, cancel := context.WithTimeoutCause(ctx, cfg.ConnectWait, errConnectTimeout)
	defer cancel()
	select {
	case <-connected:
	case <-wait.Done():
		err := errors.Join(context.Cause(wait), b.nc.LastError())
		b.Close()
		return nil, classify("bus.Connect", err)
	}
	b.js, err = jetstream.New(b.nc,
		jetstream.WithPublishAsyncMaxPending(2*maxOutstanding), // ours are fewer, so none stalls
		jetstream.WithPublishAsyncTimeout(publishTimeout),
		jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		b.Close()
		return nil, classify("bus.Connect", err)
	}
	return b, nil
}

func (b *Bus) natsOptions(ctx context.Context, connected chan<- struct{}) []nats.Option {
	logCtx := context.WithoutCancel(ctx)
	opts := []nats.Option{
		nats.Name("voicemill"),
		nats.Timeout(requestTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // refuse, rather than hold what may be published much later
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DrainTimeout(drainTimeout),
		nats.ConnectHandler(func(*nats.Conn) { connected <- struct{}{} }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.cutLine()
			if err != nil {
				b.log.WarnContext(logCtx, "bus disconnected", slog.String("error", err.Error()))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.reconnects.Add(1)
			b.log.InfoContext(logCtx, "bus reconnected", slog.String("server", nc.ConnectedServerName()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.DebugContext(logCtx, "bus error", slog.String("error", err.Error()))
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
	}
	if b.cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(b.cfg.Credentials))
	}
	if b.cfg.CA != "" {
		opts = append(opts, nats.RootCAs(b.cfg.CA))
	}
	if b.cfg.Cert != "" {
		opts = append(opts, nats.ClientCert(b.cfg.Cert, b.cfg.CertKey))
	}
	return opts
}

// AckWait is how long a receiver that gives no sign of life keeps a message. Who
// receives derives from it how often to give one, and who publishes when to look
// after what is out.
func (b *Bus) AckWait() time.Duration { return b.cfg.AckWait }

// Close drains the connection: subscriptions end, what was written is sent. It
// returns when the connection is closed, within some five seconds, and may be
// called twice. Pending fetches of other goroutines fail.
func (b *Bus) Close() {
	b.closeOnce.Do(func() {
		if err := b.nc.Drain(); err != nil {
			b.nc.Close() // not connected: there is nothing to drain
		}
	})
	timer := time.NewTimer(drainTimeout + time.Second)
	defer timer.Stop()
	select {
	case <-b.closed:
	case <-timer.C:
		b.nc.Close()
		<-b.closed
	}
}

// Healthy reports whether the connection stands now. It does no I/O.
func (b *Bus) Healthy() bool { return b.nc.IsConnected() }

// Ready asks the server whether both streams are there. WORK, which ends with
// its server, it makes anew.
func (b *Bus) Ready(ctx context.Context) error {
	if !b.Healthy() {
		return &job.Error{Op: "bus.Ready", Kind: job.Unavailable, Public: sayAway, Err: nats.ErrDisconnected}
	}
	if _, err := b.js.Stream(ctx, StreamJobs); err != nil {
		return classify("bus.Ready", fmt.Errorf("stream %s: %w", StreamJobs, err))
	}
	_, err := b.MarkWork(ctx)
	return err
}

// cutLine ends what waits for an answer over a connection that was lost.
func (b *Bus) cutLine() {
	b.lineMu.Lock()
	defer b.lineMu.Unlock()
	close(b.line)
	b.line = make(chan struct{})
}

// withLine returns a context of at most d that ends with the connection.
func (b *Bus) withLine(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	b.lineMu.Lock()
	line := b.line
	b.lineMu.Unlock()
	timed, stop := context.WithTimeout(ctx, d)
	done, cut := context.WithCancelCause(timed)
	go func() { // ends with the context
		select {
		case <-line:
			cut(nats.ErrDisconnected)
		case <-done.Done():
		}
	}()
	return done, func() { cut(nil); stop() }
}

// Stats returns the counts so far.
func (b *Bus) Stats() Stats {
	return Stats{Malformed: b.malformed.Load(), Duplicates: b.duplicates.Load(), Reconnects: b.reconnects.Load()}
}
