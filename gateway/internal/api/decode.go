package api

import (
	"errors"
	"mime"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

// decode reads the body into v and returns what is wrong with it against the
// type of v. ok is false if the call was answered: no JSON, or another type.
func decode[T any](a *API, c *Call, schema *strictjson.Schema[T], v *T) (faults []job.Fault, ok bool) {
	media, params, err := mime.ParseMediaType(string(c.Header("content-type")))
	charset := params["charset"]
	if err != nil || media != contentJSON || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		a.refuse(c, mediaType, "Send the body as Content-Type: application/json.")
		return nil, false
	}
	if enc := c.Header("content-encoding"); len(enc) > 0 && c.plain == nil && !strings.EqualFold(string(enc), "identity") {
		a.refuse(c, mediaType, "Send the body plain or with Content-Encoding: gzip.")
		return nil, false
	}
	faults, err = schema.Decode(c.Body(), v)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		a.refuse(c, notJSON, "The body is "+syntax.Error()+".")
		return nil, false
	}
	return faults, true
}

// merge joins the faults of the shape of a request with those of its meaning. A
// fault of meaning at, above or below a fault of shape only repeats it: a text
// that is a number is missing, too.
func merge(shape, meaning []job.Fault) []job.Fault {
	all := shape
next:
	for _, m := range meaning {
		for _, s := range shape {
			if within(s.Pointer, m.Pointer) || within(m.Pointer, s.Pointer) {
				continue next
			}
		}
		all = append(all, m)
	}
	return all
}

// within reports whether pointer is at or below above.
func within(pointer, above string) bool {
	rest, found := strings.CutPrefix(pointer, above)
	return found && (rest == "" || rest[0] == '/')
}
