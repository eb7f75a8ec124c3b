package problem

import "net/http"

// Slug names a type of problem; its address is /problems/<slug>.
type Slug string

// The types.
const (
	NotJSON          Slug = "not-json"
	BadRequest       Slug = "bad-request"
	BadSpeech        Slug = "invalid-speech"
	MediaType        Slug = "unsupported-media-type"
	Invalid          Slug = "invalid-request"
	TextTooLarge     Slug = "text-too-large"
	TooManySegments  Slug = "too-many-segments"
	TooManyLabels    Slug = "too-many-labels"
	UploadTooLarge   Slug = "upload-too-large"
	TooLarge         Slug = "too-large"
	TooManyLines     Slug = "too-many-lines"
	Unauthorized     Slug = "unauthorized"
	Forbidden        Slug = "forbidden"
	ForeignOrigin    Slug = "origin-not-allowed"
	NotFound         Slug = "not-found"
	MethodNotAllowed Slug = "method-not-allowed"
	NotImplemented   Slug = "not-implemented"
	LengthRequired   Slug = "length-required"
	Conflict         Slug = "conflict"
	KeyReused        Slug = "idempotency-key-reused"
	TooManyRequests  Slug = "too-many-requests"
	TooManyWatches   Slug = "too-many-watches"
	QuotaExceeded    Slug = "quota-exceeded"
	UpgradeRequired  Slug = "upgrade-required"
	BucketRefused    Slug = "bucket-refused"
	NoBucketKey      Slug = "no-bucket-key"
	BadRange         Slug = "range-not-satisfiable"
	Overloaded       Slug = "overloaded"
	Unavailable      Slug = "unavailable"
	OutcomeUnknown   Slug = "outcome-unknown"
	Internal         Slug = "internal"

	RequestTimeout      Slug = "request-timeout"
	TargetTooLong       Slug = "target-too-long"
	ExpectationFailed   Slug = "expectation-failed"
	HeadTooLarge        Slug = "head-too-large"
	VersionNotSupported Slug = "version-not-supported"
)

// Type is what is known of a type of problem.
type Type struct {
	Status int // as in HTTP
	Title  string
	Means  string // and what to do, for its page and where nothing more is known
}

// TypeOf returns the type that a slug names.
func TypeOf(s Slug) (t Type, known bool) {
	t, known = types[s]
	return t, known
}

//nolint:gochecknoglobals // a table
var types = map[Slug]Type{
	NotJSON:             {http.StatusBadRequest, "Not JSON", "The body cannot be read as JSON. The detail says at which byte."},
	BadRequest:          {http.StatusBadRequest, "Bad request", "A part of the request that is not its body cannot be read: path, query or a header field."},
	BadSpeech:           {http.StatusBadRequest, "Bad request for speech", "The request for speech has faults. They are listed in errors."},
	MediaType:           {http.StatusUnsupportedMediaType, "Unsupported media type", "The Content-Type or the Content-Encoding of the body is not one that this resource takes."},
	Invalid:             {http.StatusUnprocessableEntity, "Invalid request", "The request can be read and has faults. They are listed in errors, with a JSON pointer to each."},
	TextTooLarge:        {http.StatusRequestEntityTooLarge, "Text too large", "The text has more bytes than may be sent inline. Upload it and name the upload."},
	TooManySegments:     {http.StatusRequestEntityTooLarge, "Too many segments", "The job has more segments than a job may have. Make several jobs of it."},
	TooManyLabels:       {http.StatusRequestEntityTooLarge, "Too many labels", "The job has more labels than a job may have."},
	UploadTooLarge:      {http.StatusRequestEntityTooLarge, "Upload too large", "The document has more bytes than this upload may have."},
	TooLarge:            {http.StatusRequestEntityTooLarge, "Request too large", "The request has more bytes than a request may have. Upload the text instead."},
	TooManyLines:        {http.StatusRequestEntityTooLarge, "Too many lines", "The batch has more lines than a batch may have. Send the rest in another one."},
	Unauthorized:        {http.StatusUnauthorized, "Unauthorized", "The API key, access token or client certificate is missing, wrong or was revoked."},
	Forbidden:           {http.StatusForbidden, "Forbidden", "The API key or access token works, and lacks the scope that this needs."},
	ForeignOrigin:       {http.StatusForbidden, "Origin not allowed", "A web page of this origin may not use the client certificate of its visitor."},
	NotFound:            {http.StatusNotFound, "Not found", "There is nothing of this name, or it belongs to somebody else."},
	MethodNotAllowed:    {http.StatusMethodNotAllowed, "Method not allowed", "The resource has other methods; Allow lists them."},
	NotImplemented:      {http.StatusNotImplemented, "Not implemented", "The server does not do this for any resource."},
	LengthRequired:      {http.StatusLengthRequired, "Length required", "Say how long the body is with Content-Length, or send it in chunks."},
	Conflict:            {http.StatusConflict, "Conflict", "The request contradicts what is there."},
	KeyReused:           {http.StatusConflict, "Idempotency key reused", "The Idempotency-Key came before with another request. Use a new one for a new request."},
	TooManyRequests:     {http.StatusTooManyRequests, "Too many requests", "A limit of the API key or its tenant is reached. Try again after Retry-After."},
	TooManyWatches:      {http.StatusTooManyRequests, "Too many watches", "The API key has as many watches open as it may. Close some, or ask for the job instead."},
	QuotaExceeded:       {http.StatusTooManyRequests, "Quota exceeded", "The tenant has a quota: characters a day, open jobs, audio still to be made, or stored bytes. The detail says which has no more, Retry-After when there may be."},
	UpgradeRequired:     {http.StatusUpgradeRequired, "Upgrade required", "This resource speaks WebSocket only."},
	BucketRefused:       {http.StatusUnprocessableEntity, "Bucket refused", "The bucket was tested and does not work as it is described: an object was to be put, asked for and deleted. The detail says what the store answered."},
	NoBucketKey:         {http.StatusConflict, "No key for buckets", "The operator has configured no key to encrypt credentials of buckets with, so none are kept."},
	BadRange:            {http.StatusRequestedRangeNotSatisfiable, "Range not satisfiable", "The range does not overlap the file; Content-Range says how long that is."},
	Overloaded:          {http.StatusServiceUnavailable, "Overloaded", "The service has more to do than it can. Try again after Retry-After."},
	Unavailable:         {http.StatusServiceUnavailable, "Unavailable", "A part that this needs cannot be reached. Try again after Retry-After."},
	OutcomeUnknown:      {http.StatusServiceUnavailable, "Outcome unknown", "Whether the job was stored is not known. Send it again with the same Idempotency-Key."},
	Internal:            {http.StatusInternalServerError, "Internal error", "Something went wrong here. Tell the operator the request_id."},
	RequestTimeout:      {http.StatusRequestTimeout, "Request timeout", "The request did not arrive in time."},
	TargetTooLong:       {http.StatusRequestURITooLong, "Target too long", "The path and the query have more bytes than they may have."},
	ExpectationFailed:   {http.StatusExpectationFailed, "Expectation failed", "The server knows no expectation but 100-continue."},
	HeadTooLarge:        {http.StatusRequestHeaderFieldsTooLarge, "Head too large", "The head of the request has more bytes or fields than it may have."},
	VersionNotSupported: {http.StatusHTTPVersionNotSupported, "Version not supported", "The server speaks HTTP/1.1 and HTTP/1.0."},
}
