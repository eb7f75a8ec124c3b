package job

import (
	"errors"
	"fmt"
)

// Kind says who must act on a failure. It is the only part of an error that
// code may branch on, and the only part that becomes a metric label.
type Kind uint8

// The kinds of failure.
const (
	Internal     Kind = iota // our bug; the zero value, so a forgotten Kind is loud
	Invalid                  // the caller must change the request
	Unauthorized             // the caller must show who they are
	Forbidden                // the caller is known and may not do this
	NotFound                 // the caller asked for something that is not there
	Conflict                 // the request contradicts what is already there
	TooLarge                 // the request exceeds a limit
	Overloaded               // the caller should come back later
	Unavailable              // a dependency failed; we retry
	Engine                   // an inference engine failed, hung or answered nonsense
	Cancelled                // the owner of the job asked to stop
)

var kindNames = [...]string{
	"internal", "invalid", "unauthorized", "forbidden", "not_found", "conflict",
	"too_large", "overloaded", "unavailable", "engine", "cancelled",
}

// String returns the stable lower-case name used in metrics and the API.
func (k Kind) String() string { return kindNames[k] }

// Kinds lists every kind.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// ParseKind returns the Kind whose String is name; ok is false for any other
// name. It reads kinds back from the database.
func ParseKind(name string) (k Kind, ok bool) {
	for i, n := range kindNames {
		if n == name {
			return Kind(i), true
		}
	}
	return Internal, false
}

// Error is the failure of one operation on one job.
//
// Public is safe to show to the customer who owns the job; Err is not, and is
// never sent over the API or a callback. Error satisfies [errors.Is] and
// [errors.As] through Unwrap.
type Error struct {
	Op     string // what was attempted, as "package.Method"
	JobID  ID     // empty if the job is not known yet
	Kind   Kind
	Public string // one sentence for the customer; may be empty
	Err    error  // the cause; may be nil
}

func (e *Error) Error() string {
	msg := e.Op + ": " + e.Kind.String()
	if e.JobID != "" {
		msg += fmt.Sprintf(" (job %s)", e.JobID)
	}
	if e.Public != "" {
		msg += ": " + e.Public
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether trying the same operation again may succeed. An
// error that carries no *Error counts as Internal and is not retried.
func Retryable(err error) bool {
	k := KindOf(err)
	return k == Overloaded || k == Unavailable || k == Engine
}

// KindOf returns the Kind of the outermost *Error in err's tree, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// PublicOf returns the sentence of the outermost *Error in err's tree that has
// one, or fallback. Only this text may leave the process.
func PublicOf(err error, fallback string) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Public != "" {
			return e.Public
		}
		err = e.Err
	}
	return fallback
}
