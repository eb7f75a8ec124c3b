package operation

import (
	"context"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

// findDelivery looks for the bucket that a job names.
func (o *Operations) findDelivery(ctx context.Context, c *Caller, spec *job.Spec, faults *job.Faults) error {
	id := spec.Output.DeliverTo
	if id == "" || !job.ValidBucketID(id) { // which is a fault of the spec already
		return nil
	}
	_, err := o.dep.Store.FindBucket(ctx, c.Tenant, id)
	if err != nil && job.KindOf(err) == job.NotFound {
		faults.Add(job.Fault{Pointer: "/output/deliver_to", Detail: "bucket " + id + " is not known", Kind: job.Invalid})
		return nil
	}
	return err
}

// Deliver has the files of a job delivered into its owner's bucket again, and returns
// the job. It may be repeated.
func (o *Operations) Deliver(ctx context.Context, c *Caller, id job.ID) (*jobdoc.Document, error) {
	at, err := o.minted(c, id)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	done, err := o.dep.Store.DeliverJob(ctx, c.Tenant, id)
	o.dep.Documents.Forget(id)                         // even after an error, which may hide a commit
	if err != nil && job.KindOf(err) == job.NotFound { // it may be on its way to its row
		if _, there := o.document(ctx, c.Tenant, id, at); there == nil {
			err = problem.New(problem.Conflict, "The job has not ended; its files are delivered when it has.")
		}
	}
	if err != nil {
		return nil, err
	}
	o.dep.Bus.Hint(id, done.Version)
	d, err := o.document(ctx, c.Tenant, id, at)
	return &d, err
}
