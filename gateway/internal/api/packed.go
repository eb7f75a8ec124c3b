package api

import (
	"context"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/inflate"
	"github.com/voicemill/voicemill/job"
)

// packed reports whether the body must be unpacked before anybody reads it.
func packed(c *Call) bool {
	return c.plain == nil && strings.EqualFold(string(c.Header("content-encoding")), "gzip") && len(c.Body()) > 0
}

// unpack serves the route after it has unpacked the body, which is no work for
// an event loop.
func (a *API) unpack(c *Call, r *route) {
	rest := func(context.Context) {
		l := inflate.DefaultLimits()
		l.Bytes = int64(a.cfg.BodyBytes)
		body, err := inflate.Gzip(c.Body(), l)
		switch {
		case err == nil:
			c.plain = body
			if body == nil {
				c.plain = []byte{}
			}
			r.serve(a, c)
		case job.KindOf(err) == job.Invalid:
			a.refuseWith(c, badRequest, job.PublicOf(err, ""), err, job.Faults{})
		default:
			a.fail(c, err)
		}
	}
	if c.detached {
		rest(c.Context())
		return
	}
	a.off(c, rest)
}
