// Package refusal reads how HTTP servers of models say no: the message in the
// shapes in which they give it, and how long they want to be left alone. The bytes
// are foreign; who keeps a message makes it fit for a log first.
package refusal

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// MaxAfter is the longest that a server may ask to be left alone.
const MaxAfter = time.Hour

// Message finds the message in the body of an answer, or returns the body as it is.
func Message(body []byte) string {
	var shape struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return string(body)
	}
	for _, raw := range []json.RawMessage{shape.Error, shape.Detail} {
		var object struct {
			Message string `json:"message"`
		}
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil && text != "":
			return text
		case json.Unmarshal(raw, &object) == nil && object.Message != "":
			return object.Message
		}
	}
	if shape.Message != "" {
		return shape.Message
	}
	return string(body)
}

// After reads the header Retry-After, in seconds or as a date. It is 0 when there
// is none that makes sense, and at most [MaxAfter].
func After(value string, now time.Time) time.Duration {
	var after time.Duration
	if seconds, err := strconv.Atoi(value); err == nil {
		after = time.Duration(min(max(seconds, 0), int(MaxAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(now)
	}
	return min(max(after, 0), MaxAfter)
}
