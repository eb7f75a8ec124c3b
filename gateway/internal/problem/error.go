package problem

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// retryAfter is what 429 and 503 ask for if nothing better is known; most causes
// pass within seconds.
const retryAfter = 2 * time.Second

// Error refuses a call.
type Error struct {
	Slug   Slug
	Status int    // as in HTTP, if it is not that of the slug
	Detail string // one sentence; "" for what the type means
	Faults job.Faults
	Wait   time.Duration // positive: when to try again
	Code   string        // for clients of OpenAI's API; "" for what the slug says
	Shed   string        // why it was turned away for load, if it was, for the metrics
	Err    error         // the reason, for the log only
}

// New refuses with a type and one sentence.
func New(s Slug, detail string) *Error { return &Error{Slug: s, Detail: detail} }

// Newf is New with a sentence that is put together.
func Newf(s Slug, format string, args ...any) *Error { return New(s, fmt.Sprintf(format, args...)) }

// Shed turns a call away for load, which ends by itself after wait.
func Shed(s Slug, reason string, wait time.Duration, detail string) *Error {
	return &Error{Slug: s, Detail: detail, Wait: wait, Shed: reason, Err: &job.Error{Op: "shed", Kind: job.Overloaded, Public: types[s].Title}}
}

// Faulty refuses for everything that is wrong with a request. A limit that is
// exceeded has a type of its own if nothing else is wrong.
func Faulty(faults job.Faults) *Error {
	list := faults.List
	slices.SortStableFunc(list, func(x, y job.Fault) int { return cmp.Compare(x.Pointer, y.Pointer) })
	s := Invalid
	if !slices.ContainsFunc(list, func(f job.Fault) bool { return f.Kind != job.TooLarge }) {
		s = limitOf(list[0].Pointer)
	}
	detail := strings.TrimPrefix(list[0].Pointer+": ", ": ") + list[0].Detail + "."
	if faults.Len() > 1 {
		detail = fmt.Sprintf("%d faults; the first: %s", faults.Len(), detail)
	}
	return &Error{Slug: s, Detail: detail, Faults: job.Faults{List: list, More: faults.More}}
}

func limitOf(pointer string) Slug {
	switch {
	case pointer == "/labels":
		return TooManyLabels
	case pointer == "/input/segments":
		return TooManySegments
	case pointer == "/input/upload", pointer == "/bytes":
		return UploadTooLarge
	case strings.HasPrefix(pointer, "/input/"):
		return TextTooLarge
	}
	return TooLarge
}

// Of returns the problem that is in the tree of err, or one by its kind.
func Of(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Slug: byKind[job.KindOf(err)], Detail: job.PublicOf(err, ""), Err: err}
}

//nolint:gochecknoglobals // a table
var byKind = map[job.Kind]Slug{
	job.Internal: Internal, job.Invalid: Invalid, job.Unauthorized: Unauthorized, job.Forbidden: Forbidden,
	job.NotFound: NotFound, job.Conflict: Conflict, job.TooLarge: TooLarge, job.Overloaded: Overloaded,
	job.Unavailable: Unavailable, job.Engine: Unavailable, job.Cancelled: Conflict,
}

// OfStatus returns the problem for a request that HTTP itself refuses.
func OfStatus(status int, detail string) *Error {
	s, ok := byStatus[status]
	if !ok {
		s = BadRequest
	}
	return &Error{Slug: s, Status: status, Detail: detail}
}

//nolint:gochecknoglobals // a table
var byStatus = map[int]Slug{
	http.StatusUpgradeRequired: UpgradeRequired, http.StatusRequestTimeout: RequestTimeout, http.StatusLengthRequired: LengthRequired, http.StatusRequestEntityTooLarge: TooLarge,
	http.StatusRequestURITooLong: TargetTooLong, http.StatusExpectationFailed: ExpectationFailed,
	http.StatusRequestHeaderFieldsTooLarge: HeadTooLarge, http.StatusInternalServerError: Internal,
	http.StatusNotImplemented: NotImplemented, http.StatusServiceUnavailable: Overloaded, http.StatusHTTPVersionNotSupported: VersionNotSupported,
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Slug) + ": " + e.Err.Error()
	}
	return string(e.Slug) + ": " + e.Detail
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// StatusCode returns the status, as in HTTP.
func (e *Error) StatusCode() int { return cmp.Or(e.Status, types[e.Slug].Status) }

// RetryAfter returns when to try again; 0 for what does not pass by itself.
func (e *Error) RetryAfter() time.Duration {
	if s := e.StatusCode(); e.Wait == 0 && (s == http.StatusServiceUnavailable || s == http.StatusTooManyRequests) {
		return retryAfter
	}
	return e.Wait
}

// Document makes the problem document of the call that is refused.
func (e *Error) Document(requestID string) *Document {
	t := types[e.Slug]
	return &Document{
		Type: "/problems/" + string(e.Slug), Title: t.Title, Status: e.StatusCode(), Detail: cmp.Or(e.Detail, t.Means),
		RequestID: requestID, Errors: e.Faults.List, More: e.Faults.More,
	}
}

// Clip shortens what a client sent to what may be told of it.
func Clip(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
