package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
)

// submission is one POST /v1/jobs on its way to the intake.
type submission struct {
	a      *API
	c      *Call
	spec   job.Spec
	faults job.Faults
	id     job.ID
	at     time.Time // minted
	source struct{ key, etag string }
	key    string            // the idempotency key, if there is one
	body   [sha256.Size]byte // with a key: the request's fingerprint
	until  time.Time         // hold the answer until the job has ended; zero for no hold
	wait   int               // seconds of that
}

// submitJob reads the request, on the loop if it is small. Only uploads and
// idempotency keys need the database, and with it the pool.
func (a *API) submitJob(c *Call) {
	if !c.detached && a.large(c) {
		a.off(c, func(context.Context) { a.submitJob(c) })
		return
	}
	if err := a.ready(); err != nil {
		a.fail(c, err)
		return
	}
	s := &submission{a: a, c: c}
	var faults job.Faults
	if c.Spec != nil {
		s.spec = *c.Spec
	} else {
		var ok bool
		if faults, ok = decode(a, c, a.specs, &s.spec); !ok {
			return
		}
	}
	s.faults = a.faults(faults, &s.spec)
	if s.spec.Input.Upload == "" && s.faults.Any() {
		a.refuseFaults(c, s.faults)
		return
	}
	if !a.admitLoad(c, s.spec.Class) || !a.admitText(c, &s.spec) {
		return
	}
	s.prefer()
	switch {
	case c.detached:
		s.check(c.Context())
	case s.spec.Input.Upload != "" || s.spec.Deadline != nil || c.Header("idempotency-key") != nil:
		a.off(c, s.check)
	default:
		s.accept()
	}
}

// large reports whether reading and checking a submit is too much for an event loop.
func (a *API) large(c *Call) bool {
	if c.Spec != nil {
		return len(c.Spec.Input.Segments) > loopSegments || len(c.Spec.Labels) > loopSegments
	}
	return len(c.Body()) > a.cfg.LoopBytes
}

// loopSegments is how many segments are checked in the time of a small text.
const loopSegments = 64

// faults joins the faults of the shape of a spec with those of its meaning.
func (a *API) faults(shape job.Faults, spec *job.Spec) job.Faults {
	return merge(shape, merge(spec.Faults(a.cfg.Limits), a.dep.Voices.Faults(spec), a.callbackFaults(spec)))
}

// ready refuses early what could not be accepted anyway.
func (a *API) ready() error {
	if !a.dep.Bus.Healthy() {
		return &job.Error{Op: "api.ready", Kind: job.Unavailable, Public: "Jobs cannot be stored right now: the bus cannot be reached; try again later."}
	}
	if err := a.dep.Store.Available(); err != nil {
		return err
	}
	if len(a.dep.Voices.All()) == 0 {
		return &job.Error{Op: "api.ready", Kind: job.Unavailable, Public: "There are no voices yet: no worker has started; try again later."}
	}
	return nil
}

// prefer reads Prefer: wait=N (RFC 7240).
func (s *submission) prefer() {
	for part := range strings.SplitSeq(string(s.c.Header("prefer")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		if err != nil || seconds <= 0 {
			continue // a preference that is not understood is ignored
		}
		s.wait = min(seconds, int(s.a.cfg.MaxWait/time.Second))
		s.until = s.c.Started.Add(time.Duration(s.wait) * time.Second)
		return
	}
}

// check asks the database and the bucket.
func (s *submission) check(ctx context.Context) {
	if key := s.c.Header("idempotency-key"); key != nil && (s.spec.Input.Upload != "" || s.spec.Deadline != nil) {
		s.key, s.body = string(key), fingerprint(s.c)
	}
	if err := s.ask(ctx); err != nil {
		s.a.fail(s.c, err)
		return
	}
	if s.faults.Any() {
		s.a.refuseFaults(s.c, s.faults)
		return
	}
	s.accept()
}

// ask adds the faults that the spec has only now or only here.
func (s *submission) ask(ctx context.Context) error {
	if d := s.spec.Deadline; d != nil {
		past, err := s.expired(ctx, *d)
		if err != nil {
			return err
		}
		if past {
			s.faults.Add(job.Fault{Pointer: "/deadline", Detail: "is past", Kind: job.Invalid})
		}
	}
	if s.spec.Input.Upload == "" {
		return nil
	}
	return s.findUpload(ctx)
}

// findUpload looks for the document and adds what is wrong with it to the faults.
func (s *submission) findUpload(ctx context.Context) error {
	id := s.spec.Input.Upload
	add := func(kind job.Kind, format string, args ...any) {
		s.faults.Add(job.Fault{Pointer: "/input/upload", Detail: fmt.Sprintf(format, args...), Kind: kind})
	}
	if !goodUploadID(id) {
		add(job.Invalid, "upload %q is not known", clip(id))
		return nil
	}
	u, err := s.a.dep.Store.FindUpload(ctx, s.c.Identity.Tenant, id)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			add(job.Invalid, "upload %s is not known", id)
			return nil
		}
		return err
	}
	object, err := s.a.dep.Bucket.Stat(ctx, u.ObjectKey)
	if err != nil && job.KindOf(err) != job.NotFound {
		return err
	}
	expired, xerr := s.expired(ctx, u.ExpiresAt)
	if xerr != nil {
		return xerr
	}
	switch {
	case expired:
		add(job.Invalid, "upload %s expired at %s; upload the document again", id, u.ExpiresAt.UTC().Format(time.RFC3339))
	case err != nil:
		add(job.Invalid, "upload %s was never finished: PUT the document to its URL first", id)
	case object.Size == 0:
		add(job.Invalid, "upload %s is empty", id)
	case object.Size > u.MaxBytes:
		add(job.TooLarge, "upload %s has %d bytes; at most %d", id, object.Size, u.MaxBytes)
	}
	s.source.key, s.source.etag = u.ObjectKey, object.ETag
	if s.spec.Input.Media == "" {
		s.spec.Input.Media = u.MediaType
	}
	return nil
}

// expired reports whether this request came too late, if it had to come before at.
// It did not if the same request came then and is only repeated (invariant I8).
func (s *submission) expired(ctx context.Context, at time.Time) (bool, error) {
	if s.c.Started.Before(at) {
		return false, nil
	}
	if s.key == "" {
		return true, nil
	}
	again, err := s.a.dep.Store.OwnsIdempotencyKey(ctx, s.c.Identity.Tenant, s.key, s.body)
	return !again, err
}

func goodUploadID(id string) bool {
	rest, found := strings.CutPrefix(id, "upl_")
	return found && len(rest) > 0 && len(rest) <= 64 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// accept mints the id, or finds the one that the same request got before, and
// hands the job to the intake.
func (s *submission) accept() {
	s.normalize()
	var arrived, ok bool
	if s.id, s.at, arrived, ok = s.a.own(s.c); !ok {
		return
	}
	if arrived {
		s.done(nil)
		return
	}
	s.publish()
}

func (s *submission) normalize() {
	if s.spec.Voice == "" && s.spec.Language != "" {
		s.spec.Voice = s.a.dep.Voices.Default(s.spec.Language)
	}
	s.spec.Normalize()
}

func (s *submission) publish() {
	payload, refusal := s.payload()
	if refusal != nil {
		s.c.Reply(refusal)
		return
	}
	s.c.detach() // the answer comes from the committer
	s.c.enter(stageCommit)
	err := s.a.dep.Intake.Submit(s.id, payload, func(err error) {
		defer s.a.rescue(s.c, func() { s.a.fail(s.c, errPanic) })
		s.done(err)
	})
	if err != nil {
		s.a.fail(s.c, err)
	}
}

// payload is the job as an envelope carries it.
func (s *submission) payload() (payload []byte, refusal *Answer) {
	c := s.c
	payload = encode(&bus.AcceptedJob{
		ID: s.id, Tenant: c.Identity.Tenant, Spec: s.spec, AcceptedAt: s.at, SourceKey: s.source.key, SourceETag: s.source.etag,
		RequestID: c.RequestID, Traceparent: c.Traceparent, Tracestate: c.Tracestate,
	})
	payload = payload[:len(payload)-1] // the line end
	if len(payload) > maxPayload {
		return nil, s.a.problem(c, tooLarge, fmt.Sprintf("The job has %d bytes; at most %d. Upload the text instead.", len(payload), maxPayload))
	}
	return payload, nil
}

// maxPayload leaves room for the frame of an envelope.
const maxPayload = bus.MaxMessageBytes - 64

// done is called when the job is durable, or is known not to be.
func (s *submission) done(err error) {
	if err != nil {
		s.a.fail(s.c, err)
		return
	}
	if s.wait == 0 {
		s.accepted()
		return
	}
	// To be waited for is a preference. Without room for it the job is durable all
	// the same, and a refusal would have its client hand it in again.
	s.a.wait(s.c, &watch.Waiter{Job: s.id, Tenant: s.c.Identity.Tenant, FinalOnly: true, Until: s.until}, s.ended, func(func()) {
		s.wait = 0
		s.accepted()
	})
}

// accepted answers with the job as it came.
func (s *submission) accepted() {
	d := jobdoc.Accepted(s.id, s.at, &s.spec)
	s.answer(&d)
}

// ended answers a held submit with the job as it is now.
func (s *submission) ended(ctx context.Context) {
	d, err := s.a.document(ctx, s.c.Identity.Tenant, s.id, s.at)
	if err != nil { // the job is durable all the same, so this is no failure
		d = jobdoc.Accepted(s.id, s.at, &s.spec)
	}
	s.answer(&d)
}

func (s *submission) answer(d *jobdoc.Document) {
	answer := Answer{
		Status: http.StatusAccepted, ContentType: contentJSON, Job: d, ETag: etag(d), Location: "/v1/jobs/" + string(s.id),
	}
	if s.wait > 0 {
		answer.Preference = "wait=" + strconv.Itoa(s.wait)
		if d.State.Final() {
			answer.Status = http.StatusOK
		}
	}
	s.c.Reply(&answer)
}
