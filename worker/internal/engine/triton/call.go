package triton

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/kserve"
)

const (
	maxReconnect = time.Second // between attempts to connect, after a failed one
	windowBytes  = 1 << 20     // that a stream may have on the way: a second of sound is 96 KB
	connBytes    = 4 << 20     // that a connection may
	headerBytes  = 64 << 10    // of metadata in an answer
	slackBytes   = 64 << 10    // of a message, beside its samples
)

// errCut is why a stream of answers is not all of one.
var errCut = errors.New("the answers ended before the last of them")

// errStream is what a stream says of a failure in words alone.
var errStream = errors.New("the model failed")

// dial prepares a connection, which is made when it is first needed.
func dial(cfg Config, at address) (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if at.tls {
		secure = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 15 * time.Second}
	// Servers of gRPC's C++ library close connections that ping often, so a peer that is
	// gone is found by TCP and by the deadlines of calls.
	conn, err := grpc.NewClient("passthrough:///"+at.host,
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(func(ctx context.Context, host string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", host) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: .2, MaxDelay: maxReconnect},
			MinConnectTimeout: cfg.ConnectTimeout,
		}),
		grpc.WithStatsHandler(watcher{}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // who pays for a failure is not decided here
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(connBytes),
		grpc.WithMaxHeaderListSize(headerBytes),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	return conn, nil
}

// callError is the status that a call ended with.
type callError struct {
	code    codes.Code
	message string
	sent    bool // there was a connection to send it over
	said    bool // the status is the backend's own, and not this side's word for what it saw
}

func (e *callError) Error() string { return e.code.String() + ": " + e.message }

// passage is how far a call came: it was sent, an answer began, its status came.
type passage struct{ sent, began, said atomic.Bool }

type passageKey struct{}

// watcher notes how far calls came: a status alone does not tell.
type watcher struct{}

func (watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (watcher) HandleRPC(ctx context.Context, s stats.RPCStats) {
	p, ok := ctx.Value(passageKey{}).(*passage)
	if !ok {
		return
	}
	switch s.(type) {
	case *stats.OutHeader:
		p.sent.Store(true)
	case *stats.InHeader:
		p.began.Store(true)
	case *stats.InTrailer:
		p.said.Store(true)
	}
}

func (watcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (watcher) HandleConn(context.Context, stats.ConnStats)                       {}

// sameDeadline is how much earlier a server may see the deadline that it was sent.
const sameDeadline = 100 * time.Millisecond

// failed turns err, of a call that came as far as p says, into a callError, or into the
// cause of ctx if that has ended.
func (p *passage) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := status.Convert(err)
	deadline, ok := ctx.Deadline()
	if s.Code() == codes.DeadlineExceeded && (!p.said.Load() || ok && time.Until(deadline) < sameDeadline) {
		return errHung // the deadline of ctx, seen here or by the server a moment before ctx has it
	}
	return &callError{code: s.Code(), message: s.Message(), sent: p.sent.Load(), said: p.said.Load()}
}

// invoke makes one call of a question and an answer.
func (e *Engine) invoke(ctx context.Context, method string, question, answer proto.Message, options ...grpc.CallOption) error {
	p := new(passage)
	err := e.conn.Invoke(context.WithValue(ctx, passageKey{}, p), method, question, answer, options...)
	if err == nil {
		return nil
	}
	if status.Code(err) == codes.ResourceExhausted && p.began.Load() { // a backend that is full begins no answer: this one was too large to be read
		p.said.Store(false)
	}
	return p.failed(ctx, err)
}

// infer returns the samples for each of asks, within the time for them.
func (e *Engine) infer(ctx context.Context, m model, asks []ask) ([][]int16, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout(asks), errHung)
	defer cancel() // ends a stream, too
	q := e.cfg.request(m, asks)
	most := e.cfg.maxSamples()
	limit := grpc.MaxCallRecvMsgSize(len(asks)*4*most + slackBytes)
	if m.decoupled {
		samples, err := e.stream(ctx, q, limit)
		return [][]int16{samples}, err
	}
	answer := new(kserve.ModelInferResponse)
	if err := e.invoke(ctx, kserve.ModelInfer, q, answer, limit, grpc.MaxCallSendMsgSize(proto.Size(q))); err != nil {
		return nil, err
	}
	if m.together > 1 {
		return several(answer, len(asks), most)
	}
	samples, err := one(nil, answer, most)
	return [][]int16{samples}, err
}

// stream asks a decoupled model, which answers piece by piece.
func (e *Engine) stream(ctx context.Context, q *kserve.ModelInferRequest, limit grpc.CallOption) ([]int16, error) {
	p := new(passage)
	// With it Triton ends the stream of a request that failed by a status, which tells
	// more than words; older ones do not know it.
	call := metadata.AppendToOutgoingContext(context.WithValue(ctx, passageKey{}, p), "triton_grpc_error", "true")
	s, err := e.conn.NewStream(call, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, kserve.ModelStreamInfer, limit, grpc.MaxCallSendMsgSize(proto.Size(q)))
	if err == nil {
		err = s.SendMsg(q)
	}
	if err == nil {
		err = s.CloseSend()
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: RecvMsg says why
		return nil, p.failed(ctx, err)
	}
	var samples []int16
	for {
		answer := new(kserve.ModelStreamInferResponse)
		if err := s.RecvMsg(answer); errors.Is(err, io.EOF) {
			return nil, errCut
		} else if err != nil {
			return nil, p.failed(ctx, err)
		}
		if words := answer.GetErrorMessage(); words != "" {
			return nil, fmt.Errorf("%w: %s", errStream, words)
		}
		r := answer.GetInferResponse()
		if samples, err = one(samples, r, e.cfg.maxSamples()); err != nil {
			return nil, err
		}
		if r.GetParameters()[kserve.Final].GetBoolParam() {
			return samples, nil
		}
	}
}
