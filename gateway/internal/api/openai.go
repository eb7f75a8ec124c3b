package api

import (
	"net/http"
	"strings"
)

// OpenAIError is a problem as OpenAI's API words it. A problem document may have
// members that its readers do not know (RFC 9457 section 3.2), so one document
// serves both kinds of clients.
type OpenAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// openAIError words p for clients of OpenAI's API. code may be "".
func openAIError(p *Problem, code string) *OpenAIError {
	e := &OpenAIError{Message: p.Detail, Type: "invalid_request_error"}
	switch {
	case p.Status >= http.StatusInternalServerError:
		e.Type = "server_error"
	case p.Status == http.StatusTooManyRequests:
		e.Type = "rate_limit_error"
	case p.Status == http.StatusForbidden:
		e.Type = "permission_error"
	case p.Status == http.StatusUnauthorized:
		e.Type = "authentication_error"
	}
	if len(p.Errors) > 0 && p.Errors[0].Pointer != "" {
		param := strings.ReplaceAll(strings.TrimPrefix(p.Errors[0].Pointer, "/"), "/", ".")
		e.Param = &param
	}
	if code == "" {
		slug := slug(strings.TrimPrefix(p.Type, "/problems/"))
		if code = openAICodes[slug]; code == "" {
			code = strings.ReplaceAll(string(slug), "-", "_")
		}
	}
	e.Code = &code
	return e
}

// openAICodes are the codes that OpenAI's own API has for a problem.
//
//nolint:gochecknoglobals // a table
var openAICodes = map[slug]string{
	unauthorized: "invalid_api_key", tooManyRequests: "rate_limit_exceeded", badSpeech: "invalid_value", notJSON: "invalid_json",
}
