package operation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

// source is the document of a job, if that was uploaded.
type source struct{ key, etag string }

// lookUp adds the faults that a spec has only now or only here, and finds its
// document.
func (o *Operations) lookUp(ctx context.Context, c *Caller, s *Submission, faults *job.Faults) (found source, err error) {
	if d := s.Spec.Deadline; d != nil {
		past, err := o.expired(ctx, c, &s.Once, *d)
		if err != nil {
			return found, err
		}
		if past {
			faults.Add(job.Fault{Pointer: "/deadline", Detail: "is past", Kind: job.Invalid})
		}
	}
	if err := o.findDelivery(ctx, c, &s.Spec, faults); err != nil {
		return found, err
	}
	if m := s.Spec.Output.Metadata; m != nil && m.Cover != "" {
		if _, _, err := o.findUpload(ctx, c, s, wantCover(m.Cover), faults); err != nil {
			return found, err
		}
	}
	id := s.Spec.Input.Upload
	if id == "" {
		return found, nil
	}
	found, media, err := o.findUpload(ctx, c, s, wantDocument(id), faults)
	if s.Spec.Input.Media == "" {
		s.Spec.Input.Media = media
	}
	return found, err
}

// wanted is an upload that a request names.
type wanted struct {
	pointer, id string
	what        string   // it is to be
	types       []string // it may have
}

func wantDocument(id string) wanted {
	return wanted{"/input/upload", id, "document", job.MediaTypes()}
}

func wantCover(id string) wanted {
	return wanted{"/output/metadata/cover", id, "picture", job.CoverTypes()}
}

// findUpload looks for an upload and adds what is wrong with it to the faults.
func (o *Operations) findUpload(ctx context.Context, c *Caller, s *Submission, w wanted, faults *job.Faults) (found source, media string, err error) {
	add := func(kind job.Kind, format string, args ...any) {
		faults.Add(job.Fault{Pointer: w.pointer, Detail: fmt.Sprintf(format, args...), Kind: kind})
	}
	if !goodUploadID(w.id) {
		add(job.Invalid, "upload %q is not known", problem.Clip(w.id))
		return found, "", nil
	}
	u, err := o.dep.Store.FindUpload(ctx, c.Tenant, w.id)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			add(job.Invalid, "upload %s is not known", w.id)
			return found, "", nil
		}
		return found, "", err
	}
	object, err := o.dep.Bucket.Stat(ctx, u.ObjectKey)
	if err != nil && job.KindOf(err) != job.NotFound {
		return found, "", err
	}
	expired, xerr := o.expired(ctx, c, &s.Once, u.ExpiresAt)
	if xerr != nil {
		return found, "", xerr
	}
	switch {
	case expired:
		add(job.Invalid, "upload %s expired at %s; upload the %s again", w.id, u.ExpiresAt.UTC().Format(time.RFC3339), w.what)
	case err != nil:
		add(job.Invalid, "upload %s was never finished: PUT the %s to its URL first", w.id, w.what)
	case !slices.Contains(w.types, u.MediaType):
		add(job.Invalid, "upload %s is no %s: its media type is %s", w.id, w.what, u.MediaType)
	case object.Size == 0:
		add(job.Invalid, "upload %s is empty", w.id)
	case object.Size > u.MaxBytes:
		add(job.TooLarge, "upload %s has %d bytes; at most %d", w.id, object.Size, u.MaxBytes)
	}
	return source{u.ObjectKey, object.ETag}, u.MediaType, nil
}

// expired reports whether a request came too late, if it had to come before at. It
// did not if the same request came then and is only repeated (invariant I8).
func (o *Operations) expired(ctx context.Context, c *Caller, r *Once, at time.Time) (bool, error) {
	if c.Started.Before(at) {
		return false, nil
	}
	if !r.Given {
		return true, nil
	}
	again, err := o.dep.Store.OwnsIdempotencyKey(ctx, c.Tenant, r.Key, r.Request)
	return !again, err
}

func goodUploadID(id string) bool {
	rest, found := strings.CutPrefix(id, "upl_")
	return found && len(rest) > 0 && len(rest) <= 64 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
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
