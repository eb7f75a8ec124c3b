package operation

import (
	"context"
	"errors"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// retryAfter is when there may be room again for what is held for long.
const retryAfter = 2 * time.Second

// reasons why [Deps.Shed] is told beside the quotas.
const (
	shedBulk        = "intake-bulk"
	shedInteractive = "intake-interactive"
	shedBodies      = "streams"
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

// ShedReasons lists what [Deps.Shed] may be told.
func ShedReasons() []string {
	list := []string{shedBulk, shedInteractive, shedBodies, shedIntake, shedGuesses, shedReads, shedWaits, shedTranscodes, shedKeyWatches, shedWatches, shedQuota, ShedCalls}
	for _, q := range limit.Quotas() {
		list = append(list, string(q))
	}
	return list
}

func (o *Operations) shed(reason string) {
	if o.dep.Shed != nil {
		o.dep.Shed(reason)
	}
}

// shedFor names why a part had no room; "" for other errors.
func shedFor(err error) string {
	switch {
	case errors.Is(err, intake.ErrFull):
		return shedIntake
	case errors.Is(err, offload.ErrFull):
		return shedReads
	case errors.Is(err, watch.ErrFull):
		return shedWaits
	case errors.Is(err, transcode.ErrFull):
		return shedTranscodes
	}
	return ""
}

//nolint:gochecknoglobals // a table
var quotaNames = map[limit.Quota]string{
	limit.KeyRequests: "requests of this API key", limit.TenantRequests: "requests of this tenant",
	limit.KeyCharacters: "characters of this API key", limit.TenantCharacters: "characters of this tenant",
	limit.KeyHeld: "waiting requests of this API key", limit.TenantHeld: "waiting requests of this tenant",
	limit.KeyConnections: "connections of this API key", limit.TenantConnections: "connections of this tenant",
	limit.KeyBodies: "bodies under way with this API key", limit.TenantBodies: "bodies under way of this tenant",
	limit.KeyTranscodes: "speeches being compressed with this API key (wav and pcm need no place)", limit.TenantTranscodes: "speeches being compressed of this tenant (wav and pcm need no place)",
}

func tooMany(q limit.Quota, wait time.Duration) *problem.Error {
	return problem.Shed(problem.TooManyRequests, string(q), wait, "Too many "+quotaNames[q]+"; try again in "+wait.Round(time.Millisecond).String()+".")
}

// admitLoad turns a job away while the intake is too slow for its class.
func (o *Operations) admitLoad(class job.Class, at time.Time) error {
	if o.dep.Load.Admit(class, at) {
		return nil
	}
	return problem.Shed(problem.Overloaded, shedReason(class), max(retryAfter, o.dep.Load.Latency(at)), sayOverloaded)
}

const sayOverloaded = "Jobs take too long to be stored right now; try again later."

func shedReason(class job.Class) string {
	if class == job.Interactive {
		return shedInteractive
	}
	return shedBulk
}

// admitText counts the text of a job.
func (o *Operations) admitText(c *Caller, spec *job.Spec) error {
	if v := o.dep.Guard.Characters(c.KeyID, string(c.Tenant), spec.Characters(), c.Started); v.Refused() {
		return tooMany(v.Quota, v.Wait)
	}
	return nil
}

// occupy counts something that the caller holds for long, such as a call that waits.
func (o *Operations) occupy(c *Caller) (release func(), err error) {
	return held(o.dep.Guard.Hold(c.KeyID, string(c.Tenant)))
}

func held(release func(), full limit.Quota) (func(), error) {
	if full != limit.None {
		return nil, tooMany(full, retryAfter)
	}
	return release, nil
}

// hold waits in the hub for w.
func (o *Operations) hold(ctx context.Context, w watch.Waiter) error {
	defer stage.Enter(ctx, stage.Hold)()
	return o.dep.Hub.Await(ctx, w)
}

// OccupyBody takes the place of a body that goes on for as long as its client reads or
// writes.
func (o *Operations) OccupyBody(c *Caller) (release func(), err error) {
	return share(o.bodies, c, sayBodies)
}

const sayBodies = "Too many bodies are under way; try again later."

// BodiesFull says that there is no room for another body.
func BodiesFull() error { return problem.Shed(problem.Overloaded, shedBodies, 0, sayBodies) }

// share takes a place for a call. full is what to say if there is none for anybody.
func share(s *limit.Shares, c *Caller, full string) (release func(), err error) {
	release, quota := s.Take(c.KeyID, string(c.Tenant))
	p := &problem.Error{Shed: string(quota), Err: &job.Error{Op: "operation.share", Kind: job.Overloaded, Public: full}}
	switch name := quotaNames[quota]; {
	case quota == limit.None:
		return release, nil
	case name != "":
		p.Slug, p.Detail = problem.TooManyRequests, "Too many "+name+"; try again later."
	default:
		p.Slug, p.Detail = problem.Overloaded, full
	}
	return nil, p
}

// Connect counts a connection that carries many calls against the limits of the key
// that opened it.
func (o *Operations) Connect(c *Caller) (release func(), err error) {
	return held(o.dep.Guard.Connect(c.KeyID, string(c.Tenant)))
}
