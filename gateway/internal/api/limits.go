package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// admit counts the call against the limits of its key and tenant. It reports
// false if it has answered 429.
func (a *API) admit(c *Call) bool {
	if !c.counted {
		c.counted = true
		c.Quota = a.dep.Guard.Request(c.Identity.KeyID, string(c.Identity.Tenant), c.Started)
	}
	if !c.Quota.Refused() {
		return true
	}
	a.tooMany(c, c.Quota.Quota, c.Quota.Wait)
	return false
}

// admitText counts the text of a submit. It reports false if it has answered 429.
func (a *API) admitText(c *Call, spec *job.Spec) bool {
	v := a.dep.Guard.Characters(c.Identity.KeyID, string(c.Identity.Tenant), characters(spec), c.Started)
	if !v.Refused() {
		return true
	}
	a.tooMany(c, v.Quota, v.Wait)
	return false
}

// reasons why [Deps.Shed] is told beside the quotas.
const (
	shedBulk        = "intake-bulk"
	shedInteractive = "intake-interactive"
	shedStreams     = "streams"
	shedIntake      = "intake-queue"
	shedGuesses     = "unknown-keys"
	shedReads       = "reads"
	shedWaits       = "waits"
	shedTranscodes  = "transcodes"
	shedKeyWatches  = "key-watches"
	shedWatches     = "watches"
	// ShedCalls is told by carriers of a session on which too many calls are open.
	ShedCalls = "calls"
)

// shedFor counts an error that says that there is no room.
func (a *API) shedFor(err error) {
	switch {
	case errors.Is(err, intake.ErrFull):
		a.shed(shedIntake)
	case errors.Is(err, offload.ErrFull):
		a.shed(shedReads)
	case errors.Is(err, watch.ErrFull):
		a.shed(shedWaits)
	case errors.Is(err, transcode.ErrFull):
		a.shed(shedTranscodes)
	}
}

// admitLoad turns a submit away while the intake is too slow for its class. It
// reports false if it has answered 503.
func (a *API) admitLoad(c *Call, class job.Class) bool {
	if a.dep.Load.Admit(class, c.Started) {
		return true
	}
	a.shed(shedReason(class))
	a.turnAway(c, overloaded, "Jobs take too long to be stored right now; try again later.", max(retryAfter, a.dep.Load.Latency(c.Started)))
	return false
}

func shedReason(class job.Class) string {
	if class == job.Interactive {
		return shedInteractive
	}
	return shedBulk
}

func characters(spec *job.Spec) int64 {
	n := utf8.RuneCountInString(spec.Input.Text)
	for i := range spec.Input.Segments {
		n += utf8.RuneCountInString(spec.Input.Segments[i].Text)
	}
	return int64(n)
}

// hold counts a call that begins to wait and returns what ends that. ok is
// false if it has answered 429.
func (a *API) hold(c *Call) (release func(), ok bool) {
	release, full := a.occupy(c)
	if full != limit.None {
		a.tooMany(c, full, retryAfter)
	}
	return release, full == limit.None
}

// occupy is hold for who says itself that the quota is full.
func (a *API) occupy(c *Call) (release func(), full limit.Quota) {
	key, tenant := c.Identity.KeyID, string(c.Identity.Tenant)
	if full = a.dep.Guard.Hold(key, tenant); full != limit.None {
		return nil, full
	}
	return func() { a.dep.Guard.Release(key, tenant) }, limit.None
}

// fullError says that a place that is held for long is not to be had.
type fullError struct {
	quota  limit.Quota
	public string
}

// Error implements error.
func (e *fullError) Error() string { return "api: no place: " + string(e.quota) }

// share takes a place for a call. full is what to say if there is none for anybody.
func share(s *limit.Shares, c *Call, full string) (release func(), err error) {
	release, quota := s.Take(c.Identity.KeyID, string(c.Identity.Tenant))
	switch name := quotaNames[quota]; {
	case quota == limit.None:
		return release, nil
	case name != "":
		return nil, &fullError{quota, "Too many " + name + "; try again later."}
	}
	return nil, &fullError{quota, full}
}

// Admission counts a connection against the limits of the key that opened it, and
// returns what ends that. ok is false if there are too many.
type Admission func() (release func(), ok bool)

// admission returns the admission of the call's key. It reports false if it has
// answered 429: there is no room now. The connection is counted when it is one,
// because it may never become one.
func (a *API) admission(c *Call) (admit Admission, ok bool) {
	key, tenant := c.Identity.KeyID, string(c.Identity.Tenant)
	if q := a.dep.Guard.Connect(key, tenant); q != limit.None {
		a.tooMany(c, q, retryAfter)
		return nil, false
	}
	a.dep.Guard.Disconnect(key, tenant)
	return func() (func(), bool) {
		if q := a.dep.Guard.Connect(key, tenant); q != limit.None {
			a.shed(string(q))
			return nil, false
		}
		return func() { a.dep.Guard.Disconnect(key, tenant) }, true
	}, true
}

//nolint:gochecknoglobals // a table
var quotaNames = map[limit.Quota]string{
	limit.KeyRequests: "requests of this API key", limit.TenantRequests: "requests of this tenant",
	limit.KeyCharacters: "characters of this API key", limit.TenantCharacters: "characters of this tenant",
	limit.KeyHeld: "waiting requests of this API key", limit.TenantHeld: "waiting requests of this tenant",
	limit.KeyConnections: "connections of this API key", limit.TenantConnections: "connections of this tenant",
	limit.KeyStreams: "bodies under way with this API key", limit.TenantStreams: "bodies under way of this tenant",
	limit.KeyTranscodes: "speeches being compressed with this API key (wav and pcm need no place)", limit.TenantTranscodes: "speeches being compressed of this tenant (wav and pcm need no place)",
}

func (a *API) tooMany(c *Call, q limit.Quota, wait time.Duration) {
	a.shed(string(q))
	a.turnAway(c, tooManyRequests, fmt.Sprintf("Too many %s; try again in %s.", quotaNames[q], wait.Round(time.Millisecond)), wait)
}

func (a *API) shed(reason string) {
	if a.dep.Shed != nil {
		a.dep.Shed(reason)
	}
}

// turnAway answers with a problem that ends by itself after wait.
func (a *API) turnAway(c *Call, s slug, detail string, wait time.Duration) {
	answer := a.problem(c, s, detail)
	answer.RetryAfter = wait
	answer.Err = &job.Error{Op: "api.turnAway", Kind: job.Overloaded, Public: http.StatusText(answer.Status)}
	c.Reply(answer)
}

// ShedReasons lists what [Deps.Shed] may be told.
func ShedReasons() []string {
	list := []string{shedBulk, shedInteractive, shedStreams, shedIntake, shedGuesses, shedReads, shedWaits, shedTranscodes, shedKeyWatches, shedWatches, ShedCalls}
	for _, q := range limit.Quotas() {
		list = append(list, string(q))
	}
	return list
}
