package api

import (
	"errors"
	"mime"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

// decode reads the body into v and returns what is wrong with it against the
// type of v. ok is false if the call was answered: no JSON, or another type.
func decode[T any](a *API, c *Call, schema *strictjson.Schema[T], v *T) (faults job.Faults, ok bool) {
	media, params, err := mime.ParseMediaType(string(c.Header("content-type")))
	charset := params["charset"]
	if err != nil || media != contentJSON || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		a.refuse(c, mediaType, "Send the body as Content-Type: application/json.")
		return job.Faults{}, false
	}
	if enc := c.Header("content-encoding"); len(enc) > 0 && c.plain == nil && !strings.EqualFold(string(enc), "identity") {
		a.refuse(c, mediaType, "Send the body plain or with Content-Encoding: gzip.")
		return job.Faults{}, false
	}
	faults, err = schema.Decode(c.Body(), v)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		a.refuse(c, notJSON, "The body is "+syntax.Error()+".")
		return job.Faults{}, false
	}
	return faults, true
}

// merge joins the faults of the shape of a request with those of its meaning. A
// fault of meaning at, above or below a fault of shape only repeats it: a text
// that is a number is missing, too.
func merge(shape job.Faults, meaning ...job.Faults) job.Faults {
	all := job.Faults{List: slices.Clip(shape.List), More: shape.More}
	for _, m := range meaning {
		for _, fault := range m.List {
			if !slices.ContainsFunc(shape.List, func(s job.Fault) bool { return within(s.Pointer, fault.Pointer) || within(fault.Pointer, s.Pointer) }) {
				all.Add(fault)
			}
		}
		all.More += m.More
	}
	return all
}

// within reports whether pointer is at or below above.
func within(pointer, above string) bool {
	rest, found := strings.CutPrefix(pointer, above)
	return found && (rest == "" || rest[0] == '/')
}
