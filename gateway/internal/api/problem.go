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

	requestTimeout      slug = "request-timeout"
	targetTooLong       slug = "target-too-long"
	expectationFailed   slug = "expectation-failed"
	headTooLarge        slug = "head-too-large"
	versionNotSupported slug = "version-not-supported"
)

type kindOfProblem struct {
	status int
	title  string
	means  string // and what to do, for its page and where nothing more is known
}

var problems = map[slug]kindOfProblem{
	notJSON:             {http.StatusBadRequest, "Not JSON", "The body cannot be read as JSON. The detail says at which byte."},
	badRequest:          {http.StatusBadRequest, "Bad request", "A part of the request that is not its body cannot be read: path, query or a header field."},
	badSpeech:           {http.StatusBadRequest, "Bad request for speech", "The request for speech has faults. They are listed in errors."},
	mediaType:           {http.StatusUnsupportedMediaType, "Unsupported media type", "The Content-Type or the Content-Encoding of the body is not one that this resource takes."},
	invalid:             {http.StatusUnprocessableEntity, "Invalid request", "The request can be read and has faults. They are listed in errors, with a JSON pointer to each."},
	textTooLarge:        {http.StatusRequestEntityTooLarge, "Text too large", "The text has more bytes than may be sent inline. Upload it and name the upload."},
	tooManySegments:     {http.StatusRequestEntityTooLarge, "Too many segments", "The job has more segments than a job may have. Make several jobs of it."},
	tooManyLabels:       {http.StatusRequestEntityTooLarge, "Too many labels", "The job has more labels than a job may have."},
	uploadTooLarge:      {http.StatusRequestEntityTooLarge, "Upload too large", "The document has more bytes than this upload may have."},
	tooLarge:            {http.StatusRequestEntityTooLarge, "Request too large", "The request has more bytes than a request may have. Upload the text instead."},
	tooManyLines:        {http.StatusRequestEntityTooLarge, "Too many lines", "The batch has more lines than a batch may have. Send the rest in another one."},
	unauthorized:        {http.StatusUnauthorized, "Unauthorized", "The API key, access token or client certificate is missing, wrong or was revoked."},
	forbidden:           {http.StatusForbidden, "Forbidden", "The API key or access token works, and lacks the scope that this needs."},
	foreignOrigin:       {http.StatusForbidden, "Origin not allowed", "A web page of this origin may not use the client certificate of its visitor."},
	notFound:            {http.StatusNotFound, "Not found", "There is nothing of this name, or it belongs to somebody else."},
	methodNotAllowed:    {http.StatusMethodNotAllowed, "Method not allowed", "The resource has other methods; Allow lists them."},
	notImplemented:      {http.StatusNotImplemented, "Not implemented", "The server does not do this for any resource."},
	lengthRequired:      {http.StatusLengthRequired, "Length required", "Say how long the body is with Content-Length, or send it in chunks."},
	conflict:            {http.StatusConflict, "Conflict", "The request contradicts what is there."},
	keyReused:           {http.StatusConflict, "Idempotency key reused", "The Idempotency-Key came before with another request. Use a new one for a new request."},
	tooManyRequests:     {http.StatusTooManyRequests, "Too many requests", "A limit of the API key or its tenant is reached. Try again after Retry-After."},
	tooManyWatches:      {http.StatusTooManyRequests, "Too many watches", "The API key has as many watches open as it may. Close some, or ask for the job instead."},
	upgradeRequired:     {http.StatusUpgradeRequired, "Upgrade required", "This resource speaks WebSocket only."},
	badRange:            {http.StatusRequestedRangeNotSatisfiable, "Range not satisfiable", "The range does not overlap the file; Content-Range says how long that is."},
	overloaded:          {http.StatusServiceUnavailable, "Overloaded", "The service has more to do than it can. Try again after Retry-After."},
	unavailable:         {http.StatusServiceUnavailable, "Unavailable", "A part that this needs cannot be reached. Try again after Retry-After."},
	outcomeUnknown:      {http.StatusServiceUnavailable, "Outcome unknown", "Whether the job was stored is not known. Send it again with the same Idempotency-Key."},
	internal:            {http.StatusInternalServerError, "Internal error", "Something went wrong here. Tell the operator the request_id."},
	requestTimeout:      {http.StatusRequestTimeout, "Request timeout", "The request did not arrive in time."},
	targetTooLong:       {http.StatusRequestURITooLong, "Target too long", "The path and the query have more bytes than they may have."},
	expectationFailed:   {http.StatusExpectationFailed, "Expectation failed", "The server knows no expectation but 100-continue."},
	headTooLarge:        {http.StatusRequestHeaderFieldsTooLarge, "Head too large", "The head of the request has more bytes or fields than it may have."},
	versionNotSupported: {http.StatusHTTPVersionNotSupported, "Version not supported", "The server speaks HTTP/1.1 and HTTP/1.0."},
}

// problemPage answers with what a type of problem means.
func (a *API) problemPage(c *Call) {
	k, ok := problems[slug(c.params[0])]
	if !ok {
		a.refuse(c, notFound, "There is no such type of problem.")
		return
	}
	page := fmt.Sprintf("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>%[1]s</title>\n<h1>%[1]s</h1>\n<p>%[2]s\n<p>Answered with status %[3]d.\n</html>\n", k.title, k.means, k.status)
	c.Reply(&Answer{Status: http.StatusOK, ContentType: "text/html; charset=utf-8", Body: []byte(page)})
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
		detail = k.means
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
	http.StatusUpgradeRequired: upgradeRequired, http.StatusRequestTimeout: requestTimeout, http.StatusLengthRequired: lengthRequired, http.StatusRequestEntityTooLarge: tooLarge,
	http.StatusRequestURITooLong: targetTooLong, http.StatusExpectationFailed: expectationFailed,
	http.StatusRequestHeaderFieldsTooLarge: headTooLarge, http.StatusInternalServerError: internal,
	http.StatusNotImplemented: notImplemented, http.StatusServiceUnavailable: overloaded, http.StatusHTTPVersionNotSupported: versionNotSupported,
}

// Refusal makes the problem document for a request that never became a call.
func Refusal(status int, public, requestID string) Answer {
	s, ok := byStatus[status]
	if !ok {
		s = badRequest
	}
	a := Answer{
		Status: status, ContentType: contentProblem,
		Problem: &Problem{Type: "/problems/" + string(s), Title: problems[s].title, Status: status, Detail: public, RequestID: requestID},
	}
	if status == http.StatusServiceUnavailable {
		a.RetryAfter = retryAfter
	}
	return a
}
