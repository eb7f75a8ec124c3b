package operation

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
)

// Submission is a job that is handed in.
type Submission struct {
	Spec   job.Spec
	Faults job.Faults    // of its shape, which whoever decoded it has found
	Once   Once          // at most one job comes of it
	Wait   time.Duration // how long the caller would like to wait for the end of the job
}

// Submitted is a job that is durable.
type Submitted struct {
	Job    jobdoc.Document
	Waited bool // for its end, or for as long as was wished
}

// Submit makes a job durable (invariant I1) and returns it.
func (o *Operations) Submit(ctx context.Context, c *Caller, s *Submission) (*Submitted, error) {
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	faults := merge(s.Faults, o.faults(&s.Spec))
	if s.Spec.Input.Upload == "" && faults.Any() {
		return nil, problem.Faulty(faults)
	}
	if err := o.admitJob(c, &s.Spec); err != nil {
		return nil, err
	}
	source, err := o.lookUp(ctx, c, s, &faults)
	if err != nil {
		return nil, err
	}
	if faults.Any() {
		return nil, problem.Faulty(faults)
	}
	o.normalize(&s.Spec)
	own, err := o.own(ctx, c, &s.Once)
	if err != nil {
		return nil, err
	}
	if !own.arrived {
		if err := o.commit(ctx, c, own, &s.Spec, source); err != nil {
			return nil, err
		}
	}
	return o.submitted(ctx, c, own, s), nil
}

// admitJob turns a job away if the intake is too slow, or its caller too fast.
func (o *Operations) admitJob(c *Caller, spec *job.Spec) error {
	if err := o.admitLoad(spec.Class, c.Started); err != nil {
		return err
	}
	return o.admitText(c, spec)
}

// faults returns what is wrong with the meaning of a spec, as far as memory knows.
func (o *Operations) faults(spec *job.Spec) job.Faults {
	return merge(spec.Faults(o.cfg.Limits), o.dep.Voices.Faults(spec), o.callbackFaults(spec))
}

func (o *Operations) normalize(spec *job.Spec) {
	if spec.Voice == "" && spec.Language != "" {
		spec.Voice = o.dep.Voices.Default(spec.Language)
	}
	spec.Normalize()
}

// commit hands the job to the intake and returns when it is durable.
func (o *Operations) commit(ctx context.Context, c *Caller, own owned, spec *job.Spec, source source) error {
	payload, err := payload(c, own, spec, source)
	if err != nil {
		return err
	}
	if err := o.reserve(ctx, c, own.id, spec); err != nil {
		return err
	}
	defer stage.Enter(ctx, stage.Commit)()
	err = o.dep.Intake.Submit(ctx, own.id, payload)
	o.unreserve(ctx, c, err, own.id)
	return err
}

// maxPayload leaves room for the frame of an envelope.
const maxPayload = bus.MaxMessageBytes - 64

// payload is the job as an envelope carries it.
func payload(c *Caller, own owned, spec *job.Spec, source source) ([]byte, error) {
	p := Encode(&bus.AcceptedJob{
		ID: own.id, Tenant: c.Tenant, Spec: *spec, AcceptedAt: own.at, KeyID: c.KeyID, SourceKey: source.key, SourceETag: source.etag,
		RequestID: c.RequestID, Traceparent: c.Traceparent, Tracestate: c.Tracestate,
	})
	if len(p) > maxPayload {
		return nil, problem.Newf(problem.TooLarge, "The job has %d bytes; at most %d. Upload the text instead.", len(p), maxPayload)
	}
	return p, nil
}

// submitted returns the job as it came or, if the caller would like to wait, as it is
// then. That is a preference: the job is durable, and a refusal would have its client
// hand it in again.
func (o *Operations) submitted(ctx context.Context, c *Caller, own owned, s *Submission) *Submitted {
	done := &Submitted{Job: jobdoc.Accepted(own.id, own.at, &s.Spec)}
	if v := o.dep.Voices.Gone(&s.Spec); v != nil {
		done.Job.Waiting = &jobdoc.Waiting{Pool: v.Pool, Since: jobdoc.Time{Time: v.GoneSince}, Reason: jobdoc.Gone}
	}
	if s.Wait <= 0 {
		return done
	}
	release, err := o.occupy(c)
	if err != nil {
		return done
	}
	err = o.hold(ctx, watch.Waiter{Job: own.id, Tenant: c.Tenant, FinalOnly: true, Until: c.Started.Add(s.Wait)})
	release()
	if err != nil && job.KindOf(err) != job.Unavailable { // the server stops: nobody waits any more
		return done
	}
	done.Waited = true
	if d, err := o.document(ctx, c.Tenant, own.id, own.at); err == nil {
		done.Job = d
	}
	return done
}
