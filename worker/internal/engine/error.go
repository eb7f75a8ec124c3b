package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
)

// ErrClosed is wrapped by the error of a call to an engine that was closed.
var ErrClosed = errors.New("engine is closed")

// ErrStarting is wrapped by the error of a request to an [Owned] engine that has no
// backend yet, or none any more.
var ErrStarting = errors.New("the backend is starting")

// ErrLost is wrapped by the error of a request that was sent and got no answer, or
// not all of one: the backend hung, died or cut the connection.
var ErrLost = errors.New("the backend was lost")

// ErrDied is wrapped, beside [ErrLost], by the error of a request that ended a process
// which the driver runs itself. The driver starts another for the next request, so that
// what that says is no sign that the first one was well.
var ErrDied = errors.New("the process of the driver's own ended")

// ErrNoAnswer is wrapped by the error of a request whose answer came whole and holds
// no speech that can be used.
var ErrNoAnswer = errors.New("not an answer")

// ErrRefused is wrapped by the error of an engine that gets no work because it does not
// speak in company as it speaks alone.
var ErrRefused = errors.New("the engine is refused")

// ErrPoison is wrapped by the error of a request whose text ended the engine
// again and again, which a fleet finds. Trying it once more is waste.
var ErrPoison = errors.New("the text ended the engine more than once")

// BusyError is the cause of an Overloaded failure when the backend said how
// long to stay away.
type BusyError struct {
	After time.Duration // as asked for by the backend; more than zero
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("backend asks to come back after %s", e.After)
}

// RetryAfter returns how long the backend that caused err asked to be left
// alone. ok is false if it did not ask.
func RetryAfter(err error) (after time.Duration, ok bool) {
	if busy, ok := errors.AsType[*BusyError](err); ok {
		return busy.After, true
	}
	return 0, false
}

// CallError returns the error for a whole call that ended because of cause:
// the end of a context, or [ErrClosed]. It counts as retryable, since nothing
// is known against the requests.
func CallError(op string, cause error) error {
	return &job.Error{Op: op, Kind: job.Unavailable, Err: cause}
}
