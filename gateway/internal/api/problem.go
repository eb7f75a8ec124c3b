package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/job"
)

// Problem is a problem document (RFC 9457).
type Problem struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	RequestID string      `json:"request_id"`
	Errors    []job.Fault `json:"errors,omitempty"`      // job.MaxFaults at most
	More      int         `json:"more_errors,omitempty"` // that are not told

	OpenAI *OpenAIError `json:"error,omitempty"` // for clients of OpenAI's API
}

// slug names a kind of problem; its type is /problems/<slug>.
type slug string

const (
	notJSON          slug = "not-json"
	badRequest       slug = "bad-request"
	badSpeech        slug = "invalid-speech"
	mediaType        slug = "unsupported-media-type"
	invalid          slug = "invalid-request"
	textTooLarge     slug = "text-too-large"
	tooManySegments  slug = "too-many-segments"
	tooManyLabels    slug = "too-many-labels"
	uploadTooLarge   slug = "upload-too-large"
	tooLarge         slug = "too-large"
	tooManyLines     slug = "too-many-lines"
	unauthorized     slug = "unauthorized"
	forbidden        slug = "forbidden"
	foreignOrigin    slug = "origin-not-allowed"
	notFound         slug = "not-found"
	methodNotAllowed slug = "method-not-allowed"
	notImplemented   slug = "not-implemented"
	lengthRequired   slug = "length-required"
	conflict         slug = "conflict"
	keyReused        slug = "idempotency-key-reused"
	tooManyRequests  slug = "too-many-requests"
	tooManyWatches   slug = "too-many-watches"
	upgradeRequired  slug = "upgrade-required"
	badRange         slug = "range-not-satisfiable"
	overloaded       slug = "overloaded"
	unavailable      slug = "unavailable"
	outcomeUnknown   slug = "outcome-unknown"
	internal         slug = "internal"
)

type kindOfProblem struct {
	status int
	title  string
}

var problems = map[slug]kindOfProblem{
	notJSON:          {http.StatusBadRequest, "The body is not JSON"},
	badRequest:       {http.StatusBadRequest, "The request cannot be read"},
	badSpeech:        {http.StatusBadRequest, "The request for speech has faults"},
	mediaType:        {http.StatusUnsupportedMediaType, "The body has the wrong media type"},
	invalid:          {http.StatusUnprocessableEntity, "The request has faults"},
	textTooLarge:     {http.StatusRequestEntityTooLarge, "The text is too large"},
	tooManySegments:  {http.StatusRequestEntityTooLarge, "There are too many segments"},
	tooManyLabels:    {http.StatusRequestEntityTooLarge, "There are too many labels"},
	uploadTooLarge:   {http.StatusRequestEntityTooLarge, "The upload is too large"},
	tooLarge:         {http.StatusRequestEntityTooLarge, "The request is too large"},
	tooManyLines:     {http.StatusRequestEntityTooLarge, "There are too many lines"},
	unauthorized:     {http.StatusUnauthorized, "The API key is missing or wrong"},
	forbidden:        {http.StatusForbidden, "The API key may not do this"},
	foreignOrigin:    {http.StatusForbidden, "The web page may not do this"},
	notFound:         {http.StatusNotFound, "There is no such resource"},
	methodNotAllowed: {http.StatusMethodNotAllowed, "The resource does not have this method"},
	notImplemented:   {http.StatusNotImplemented, "The server does not do this"},
	lengthRequired:   {http.StatusLengthRequired, "The length of the body is missing"},
	conflict:         {http.StatusConflict, "The request contradicts what is there"},
	keyReused:        {http.StatusConflict, "The idempotency key was used for another request"},
	tooManyRequests:  {http.StatusTooManyRequests, "A limit is reached"},
	tooManyWatches:   {http.StatusTooManyRequests, "There are too many watches"},
	upgradeRequired:  {http.StatusUpgradeRequired, "This resource speaks WebSocket only"},
	badRange:         {http.StatusRequestedRangeNotSatisfiable, "The range is not there"},
	overloaded:       {http.StatusServiceUnavailable, "The service is overloaded"},
	unavailable:      {http.StatusServiceUnavailable, "The service is not available"},
	outcomeUnknown:   {http.StatusServiceUnavailable, "The outcome is unknown"},
	internal:         {http.StatusInternalServerError, "Something went wrong here"},
}

// retryAfter is what 503 answers ask for; most causes pass within seconds.
const retryAfter = 2 * time.Second

// refuse answers with a problem of the given kind.
func (a *API) refuse(c *Call, s slug, detail string) {
	a.refuseWith(c, s, detail, nil, job.Faults{})
}

func (a *API) refuseWith(c *Call, s slug, detail string, cause error, faults job.Faults) {
	answer := a.problem(c, s, detail)
	answer.Err, answer.Problem.Errors, answer.Problem.More = cause, faults.List, faults.More
	c.Reply(answer)
}

// problem makes the answer that a problem is.
func (a *API) problem(c *Call, s slug, detail string) *Answer {
	k := problems[s]
	if detail == "" {
		detail = k.title + "."
	}
	answer := Answer{
		Status: k.status, ContentType: contentProblem,
		Problem: &Problem{Type: "/problems/" + string(s), Title: k.title, Status: k.status, Detail: detail, RequestID: c.RequestID},
	}
	if k.status == http.StatusServiceUnavailable || k.status == http.StatusTooManyRequests {
		answer.RetryAfter = retryAfter
	}
	return &answer
}

var byKind = map[job.Kind]slug{
	job.Internal: internal, job.Invalid: invalid, job.Unauthorized: unauthorized, job.Forbidden: forbidden,
	job.NotFound: notFound, job.Conflict: conflict, job.TooLarge: tooLarge, job.Overloaded: overloaded,
	job.Unavailable: unavailable, job.Engine: unavailable, job.Cancelled: conflict,
}

// fail answers with the problem that err is.
func (a *API) fail(c *Call, err error) {
	if e, ok := errors.AsType[*BodyError](err); ok {
		a.failBody(c, e, err)
		return
	}
	c.Reply(a.failure(c, err))
}

// failure makes the answer that err is.
func (a *API) failure(c *Call, err error) *Answer {
	if e, ok := errors.AsType[*fullError](err); ok {
		return a.noRoom(c, e)
	}
	s := byKind[job.KindOf(err)]
	if s == overloaded {
		a.shedFor(err)
	}
	if errors.Is(err, intake.ErrUnknown) {
		s = outcomeUnknown
	}
	answer := a.problem(c, s, job.PublicOf(err, ""))
	answer.Err = err
	return answer
}

// noRoom is failure for a place that is not to be had: 429 if that is because of
// the caller's own.
func (a *API) noRoom(c *Call, e *fullError) *Answer {
	a.shed(string(e.quota))
	s := overloaded
	if quotaNames[e.quota] != "" {
		s = tooManyRequests
	}
	answer := a.problem(c, s, e.public)
	answer.Err = &job.Error{Op: "api.noRoom", Kind: job.Overloaded, Err: e}
	return answer
}

// failClaim is fail for a claim of an idempotency key.
func (a *API) failClaim(c *Call, err error) {
	if job.KindOf(err) == job.Conflict {
		a.refuseWith(c, keyReused, "This Idempotency-Key was used before with another request.", err, job.Faults{})
		return
	}
	a.fail(c, err)
}

// refuseFaults answers with everything that is wrong with a request. A limit
// that is exceeded has a type of its own if nothing else is wrong.
func (a *API) refuseFaults(c *Call, faults job.Faults) { c.Reply(a.faulty(c, faults)) }

// faulty makes the answer of refuseFaults.
func (a *API) faulty(c *Call, faults job.Faults) *Answer {
	list := faults.List
	slices.SortStableFunc(list, func(x, y job.Fault) int { return cmp.Compare(x.Pointer, y.Pointer) })
	s := invalid
	if !slices.ContainsFunc(list, func(f job.Fault) bool { return f.Kind != job.TooLarge }) {
		s = limitOf(list[0].Pointer)
	}
	detail := strings.TrimPrefix(list[0].Pointer+": ", ": ") + list[0].Detail + "."
	if faults.Len() > 1 {
		detail = fmt.Sprintf("%d faults; the first: %s", faults.Len(), detail)
	}
	answer := a.problem(c, s, detail)
	answer.Problem.Errors, answer.Problem.More = list, faults.More
	return answer
}

func limitOf(pointer string) slug {
	switch {
	case pointer == "/labels":
		return tooManyLabels
	case pointer == "/input/segments":
		return tooManySegments
	case pointer == "/input/upload", pointer == "/bytes":
		return uploadTooLarge
	case strings.HasPrefix(pointer, "/input/"):
		return textTooLarge
	}
	return tooLarge
}

var byStatus = map[int]slug{
	http.StatusUpgradeRequired: upgradeRequired, http.StatusRequestTimeout: "request-timeout", http.StatusLengthRequired: lengthRequired, http.StatusRequestEntityTooLarge: tooLarge,
	http.StatusRequestURITooLong: "target-too-long", http.StatusExpectationFailed: "expectation-failed",
	http.StatusRequestHeaderFieldsTooLarge: "head-too-large", http.StatusInternalServerError: internal,
	http.StatusNotImplemented: notImplemented, http.StatusServiceUnavailable: overloaded, http.StatusHTTPVersionNotSupported: "version-not-supported",
}

// Refusal makes the problem document for a request that never became a call.
func Refusal(status int, public, requestID string) Answer {
	s, ok := byStatus[status]
	if !ok {
		s = badRequest
	}
	title := problems[s].title
	if title == "" {
		title = http.StatusText(status)
	}
	a := Answer{
		Status: status, ContentType: contentProblem,
		Problem: &Problem{Type: "/problems/" + string(s), Title: title, Status: status, Detail: public, RequestID: requestID},
	}
	if status == http.StatusServiceUnavailable {
		a.RetryAfter = retryAfter
	}
	return a
}
