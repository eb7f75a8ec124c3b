package triton

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/voicemill/voicemill/api/kserve"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// askTimeout is for questions about a model that failed.
const askTimeout = 2 * time.Second

var _ engine.Prober = (*Engine)(nil)

// Probe implements [engine.Prober]: the model is loaded.
func (e *Engine) Probe(ctx context.Context) error {
	if err := e.ready(ctx); err != nil {
		return &job.Error{Op: "triton.Probe", Kind: job.Unavailable, Public: "The engine cannot be reached.", Err: err}
	}
	return nil
}

var errNotReady = errors.New("the model is not loaded")

// ready returns nil if the server has the model.
func (e *Engine) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errHung)
	defer cancel()
	answer := new(kserve.ModelReadyResponse)
	if err := e.invoke(ctx, kserve.ModelReady, &kserve.ModelReadyRequest{Name: e.cfg.Model}, answer); err != nil {
		return err
	}
	if !answer.GetReady() {
		return errNotReady
	}
	return nil
}

// explain turns err into the failure of a request in ctx.
func (e *Engine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(opSynthesize, context.Cause(ctx))
	}
	failure := &job.Error{Op: opSynthesize, Kind: job.Engine, Err: words{err}}
	answer, ok := errors.AsType[*callError](err)
	switch {
	case errors.Is(err, errModel):
		failure.Kind, failure.Public = job.Invalid, "The speech engine has another model than the one that is configured."
	case errors.Is(err, errNoAnswer):
		failure.Public = "The speech engine gave no usable answer."
	case errors.Is(err, errStream):
		failure.Public = "The speech engine failed on this text."
	case ok && answer.said:
		failure.Kind, failure.Public = kindOf(answer.code)
		e.look(ctx, failure, answer.code)
	case ok && !answer.sent && answer.code == codes.Unavailable:
		failure.Kind = job.Unavailable
	case ok && answer.code == codes.ResourceExhausted: // this side refused to read it
		failure.Public, failure.Err = "The speech engine gave no usable answer.", fmt.Errorf("%w: %w", errTooLong, words{err})
	default: // it hung, or the connection broke
		failure.Public, failure.Err = "The speech engine gave no answer.", fmt.Errorf("%w: %w", engine.ErrLost, words{err})
	}
	return failure
}

// stubDied is in what Triton's Python backend says from when the process of a model has
// died until the server is restarted. There is no code for it, and the model counts as
// ready all the while.
const stubDied = "is not healthy"

// look asks whether the model is still there, where that says what a failure was: a
// queue that is full or a model that is away, an error of the model or its death.
func (e *Engine) look(ctx context.Context, failure *job.Error, code codes.Code) {
	if failure.Kind != job.Engine && code != codes.Unavailable {
		return
	}
	if code == codes.Internal && strings.Contains(failure.Err.Error(), stubDied) {
		failure.Public, failure.Err = "The speech engine gave no answer.", fmt.Errorf("%w: %w", engine.ErrLost, failure.Err)
		return
	}
	err := e.ready(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
	case failure.Kind == job.Engine:
		failure.Public, failure.Err = "The speech engine gave no answer.", fmt.Errorf("%w: %w: %w", engine.ErrLost, failure.Err, words{err})
	default:
		failure.Kind, failure.Err = job.Unavailable, fmt.Errorf("%w: %w", failure.Err, words{err})
	}
}

// kindOf says what the status of a backend means, and how the owner of a text is told
// if it turns out to be the text's fault.
func kindOf(code codes.Code) (job.Kind, string) {
	refused := fmt.Sprintf("The speech engine refused this text (%s).", code)
	switch code {
	case codes.Unavailable, codes.ResourceExhausted:
		return job.Overloaded, ""
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition, codes.Unimplemented, codes.AlreadyExists:
		return job.Invalid, refused
	case codes.NotFound:
		return job.NotFound, refused
	case codes.Unauthenticated:
		return job.Unauthorized, refused
	case codes.PermissionDenied:
		return job.Forbidden, refused
	case codes.OK, codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.Aborted, codes.Internal, codes.DataLoss:
	}
	return job.Engine, fmt.Sprintf("The speech engine failed on this text (%s).", code)
}

// words is an error whose text fits a log, whatever the backend wrote into it.
type words struct{ error }

func (w words) Error() string { return engine.Words(w.error.Error()) }
func (w words) Unwrap() error { return w.error }
