package problem

import (
	"net/http"
	"strings"

	"github.com/voicemill/voicemill/job"
)

// Document is a problem document (RFC 9457).
type Document struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	RequestID string      `json:"request_id"`
	Errors    []job.Fault `json:"errors,omitempty"`      // job.MaxFaults at most
	More      int         `json:"more_errors,omitempty"` // that are not told

	OpenAI *OpenAI `json:"error,omitempty"` // for clients of OpenAI's API
}

// OpenAI is a problem as OpenAI's API words it. A problem document may have
// members that its readers do not know (RFC 9457 section 3.2), so one document
// serves both kinds of clients.
type OpenAI struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// OpenAI words the problem for clients of OpenAI's API.
func (e *Error) OpenAI(d *Document) *OpenAI {
	said := &OpenAI{Message: d.Detail, Type: "invalid_request_error"}
	switch {
	case d.Status >= http.StatusInternalServerError:
		said.Type = "server_error"
	case d.Status == http.StatusTooManyRequests:
		said.Type = "rate_limit_error"
	case d.Status == http.StatusForbidden:
		said.Type = "permission_error"
	case d.Status == http.StatusUnauthorized:
		said.Type = "authentication_error"
	}
	if len(d.Errors) > 0 && d.Errors[0].Pointer != "" {
		param := strings.ReplaceAll(strings.TrimPrefix(d.Errors[0].Pointer, "/"), "/", ".")
		said.Param = &param
	}
	code := e.Code
	if code == "" {
		code = openAICodes[e.Slug]
	}
	if code == "" {
		code = strings.ReplaceAll(string(e.Slug), "-", "_")
	}
	said.Code = &code
	return said
}

// openAICodes are the codes that OpenAI's own API has for a problem.
//
//nolint:gochecknoglobals // a table
var openAICodes = map[Slug]string{
	Unauthorized: "invalid_api_key", TooManyRequests: "rate_limit_exceeded", BadSpeech: "invalid_value", NotJSON: "invalid_json",
}
