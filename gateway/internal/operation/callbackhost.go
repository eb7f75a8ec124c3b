package operation

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/outside"
)

// callbackFaults refuses callbacks to addresses that are plainly not public, and
// to ports that none is sent to.
// It looks at what is written only; where a name leads is asked when the
// callback is sent, because it may change.
func (o *Operations) callbackFaults(s *job.Spec) (faults job.Faults) {
	if s.Callback == nil || o.cfg.CallbackPrivate {
		return faults
	}
	u, err := url.Parse(s.Callback.URL)
	if err != nil || u.Host == "" {
		return faults // a fault of the spec already
	}
	bad := func(what string) {
		faults.Add(job.Fault{Pointer: "/callback/url", Detail: fmt.Sprintf("callbacks to %s", what), Kind: job.Invalid})
	}
	if reason := (outside.Rule{Prefixes: o.cfg.CallbackAllowed}).Host(u.Hostname()); reason != "" {
		bad(reason + " are not allowed here")
	}
	if _, ok := job.CallbackPort(u, o.cfg.CallbackPorts); !ok {
		bad(fmt.Sprintf("port %s are not allowed here; allowed: %s", problem.Clip(u.Port()), numbers(o.cfg.CallbackPorts)))
	}
	return faults
}

func numbers(ports []uint16) string {
	said := make([]string, len(ports))
	for i, p := range ports {
		said[i] = strconv.Itoa(int(p))
	}
	return strings.Join(said, ", ")
}
