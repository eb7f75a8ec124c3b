package frames

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/jobproto"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

// SubmitOptions go with a submit.
type SubmitOptions struct {
	IdempotencyKey string // the same key with the same spec is the same job; empty is none
	RequestID      string
	Traceparent    string
	Tracestate     string
}

// Submit hands in a job. When it returns without an error, the job is durable.
func (c *Conn) Submit(ctx context.Context, spec *job.Spec, o SubmitOptions) (jobdoc.Document, error) {
	a, err := c.ask(ctx, &voicemillv1.Frame{Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{
		Spec: jobproto.FromSpec(spec), IdempotencyKey: o.IdempotencyKey, RequestId: o.RequestID,
		Traceparent: o.Traceparent, Tracestate: o.Tracestate,
	}}})
	return document(a.GetAccepted().GetJob(), err)
}

// Job reads a job.
func (c *Conn) Job(ctx context.Context, id job.ID) (jobdoc.Document, error) {
	return c.get(ctx, &voicemillv1.Get{Id: string(id)})
}

// Poll reads a job when its version is another than after, or when wait is over,
// which is at most a minute and counts in seconds.
func (c *Conn) Poll(ctx context.Context, id job.ID, after int64, wait time.Duration) (jobdoc.Document, error) {
	return c.get(ctx, &voicemillv1.Get{Id: string(id), AfterVersion: uint64(max(0, after)), WaitSeconds: uint32(wait / time.Second)}) //nolint:gosec // not negative
}

func (c *Conn) get(ctx context.Context, m *voicemillv1.Get) (jobdoc.Document, error) {
	a, err := c.ask(ctx, &voicemillv1.Frame{Body: &voicemillv1.Frame_Get{Get: m}})
	return document(a.GetJob(), err)
}

// Cancel ends a job. It may be called more than once.
func (c *Conn) Cancel(ctx context.Context, id job.ID) (jobdoc.Document, error) {
	a, err := c.ask(ctx, &voicemillv1.Frame{Body: &voicemillv1.Frame_Cancel{Cancel: &voicemillv1.Cancel{Id: string(id)}}})
	return document(a.GetJob(), err)
}

// Ping asks the server whether it lives.
func (c *Conn) Ping(ctx context.Context) error {
	a, err := c.ask(ctx, &voicemillv1.Frame{Body: &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{}}})
	if err == nil && a.GetPong() == nil {
		return errProtocol
	}
	return err
}

func document(m *voicemillv1.Job, err error) (jobdoc.Document, error) {
	if err != nil {
		return jobdoc.Document{}, err
	}
	if m == nil {
		return jobdoc.Document{}, errProtocol
	}
	return jobproto.Document(m), nil
}

// minEvent is less than the smallest frame of an event has.
const minEvent = 12

// Watch calls seen for the events of a job after a version, 0 for all, until the
// job has ended; then it returns nil. While seen is slow, events are left out,
// never the last.
func (c *Conn) Watch(ctx context.Context, id job.ID, after int64, seen func(jobdoc.Event)) error {
	f := &voicemillv1.Frame{Body: &voicemillv1.Frame_Watch{Watch: &voicemillv1.Watch{Id: string(id), AfterVersion: uint64(max(0, after))}}} //nolint:gosec // not negative
	events, err := c.open(f, int(c.window)/minEvent+2)
	if err != nil {
		return err
	}
	defer c.forget(f.GetStream())
	used := 0
	for {
		select {
		case a := <-events:
			if p := a.GetProblem(); p != nil {
				return problem(p)
			}
			e := jobproto.Event(a.GetEvent())
			seen(e)
			if e.State.Final() {
				return nil
			}
			if used += lengthBytes + proto.Size(a); used > int(c.window)/2 {
				if err := c.grant(f.GetStream(), used); err != nil {
					return err
				}
				used = 0
			}
		case <-ctx.Done():
			c.leave(f.GetStream())
			return context.Cause(ctx)
		case <-c.done:
			return c.Err()
		}
	}
}

// Sound is a piece of the sound of a job: mono, 16-bit, little endian.
type Sound struct {
	Segment, Chapter int
	SampleRate       int
	PCM              []byte // the piece's own
	Last             bool   // of the segment
}

// ListenOptions say what of a job is wanted.
type ListenOptions struct {
	After int64 // version that the caller has
	From  int   // segment that the sound begins with; 0 is the first
}

// soundWindow is how much sound may be on its way: some seconds.
const soundWindow = 256 << 10

// Listen is Watch with the sound of the job: heard gets every piece in reading
// order, and may be as slow as it likes. Listen returns nil when the job has
// ended and all of its sound came. seen and heard are called by one goroutine.
func (c *Conn) Listen(ctx context.Context, id job.ID, o ListenOptions, seen func(jobdoc.Event), heard func(Sound)) error {
	f := &voicemillv1.Frame{Body: &voicemillv1.Frame_Watch{Watch: &voicemillv1.Watch{
		Id: string(id), AfterVersion: uint64(max(0, o.After)), Audio: true, FromSegment: uint32(max(0, o.From)), //nolint:gosec // not negative
	}}}
	answers, err := c.open(f, (int(c.window)+soundWindow)/minEvent+3)
	if err != nil {
		return err
	}
	defer c.forget(f.GetStream())
	if err := c.grant(f.GetStream(), soundWindow); err != nil {
		return err
	}
	used := 0
	for {
		select {
		case a := <-answers:
			if p := a.GetProblem(); p != nil {
				return problem(p)
			}
			if s := a.GetAudio(); s != nil {
				heard(Sound{Segment: int(s.GetSegment()), Chapter: int(s.GetChapter()), SampleRate: int(s.GetSampleRate()), PCM: s.GetPcm(), Last: s.GetLast()})
			} else {
				e := jobproto.Event(a.GetEvent())
				seen(e)
				if e.State.Final() { // it comes after all of the sound
					return nil
				}
			}
			if used += lengthBytes + proto.Size(a); used > soundWindow/2 {
				if err := c.grant(f.GetStream(), used); err != nil {
					return err
				}
				used = 0
			}
		case <-ctx.Done():
			c.leave(f.GetStream())
			return context.Cause(ctx)
		case <-c.done:
			return c.Err()
		}
	}
}

func (c *Conn) grant(stream uint32, n int) error {
	err := c.send(&voicemillv1.Frame{Stream: stream, Body: &voicemillv1.Frame_Window{Window: &voicemillv1.Window{Bytes: uint32(n)}}}) //nolint:gosec // at most the window
	if err != nil {
		return c.broken(err)
	}
	return nil
}
