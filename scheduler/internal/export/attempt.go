package export

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

func random() float64 { return rand.Float64() } //nolint:gosec // spreads retries

// attempt is one try to deliver what is left of a job's files.
type attempt struct {
	d      *Dispatcher
	e      store.Export
	moved  bool // a file arrived
	replan bool // what was planned is not there any more
}

func (a *attempt) run(ctx context.Context) error {
	b, err := a.open()
	if err != nil {
		return err
	}
	defer b.Close()
	if !a.e.Planned {
		if err := a.plan(ctx, b); err != nil {
			return err
		}
	}
	files, err := a.d.leased.ExportFiles(ctx, a.e.Job)
	if err != nil {
		return fmt.Errorf("read what is left: %w", err)
	}
	for i := range files {
		if files[i].Done {
			continue
		}
		if err := a.deliver(ctx, b, &files[i]); err != nil {
			return err
		}
	}
	return nil
}

// open opens the bucket as its owner has set it.
func (a *attempt) open() (*foreign.Bucket, error) {
	switch {
	case !a.e.Exists:
		return nil, &job.Error{Op: "export.open", JobID: a.e.JobID, Kind: job.NotFound, Public: "The bucket was deleted."}
	case !a.d.keys.Any():
		return nil, &job.Error{Op: "export.open", JobID: a.e.JobID, Kind: job.Unavailable, Public: sayNoKey}
	}
	cred, err := foreign.Unseal(a.d.keys, a.e.SealedBy, a.e.Sealed, a.e.BucketID)
	if err != nil {
		said := sayNoKey
		if job.KindOf(err) == job.Internal {
			said = "The credentials of the bucket cannot be read; set them again."
		}
		return nil, &job.Error{Op: "export.open", JobID: a.e.JobID, Kind: job.KindOf(err), Public: said, Err: err}
	}
	return foreign.Open(a.d.deps.Foreign, a.e.Place, cred)
}

const sayNoKey = "The operator has not configured the key that the bucket's credentials were encrypted with."

// plan stores what goes where. An upload that was begun for other bytes is ended.
func (a *attempt) plan(ctx context.Context, b *foreign.Bucket) error {
	artifacts, chapters, err := a.d.leased.ExportSource(ctx, a.e.Job)
	if err != nil {
		return fmt.Errorf("read the files of the job: %w", err)
	}
	files, err := Layout(a.e, artifacts, chapters)
	if err != nil {
		return &job.Error{Op: "export.plan", JobID: a.e.JobID, Kind: job.Invalid, Public: "The job's " + err.Error() + ".", Err: err}
	}
	before, err := a.d.leased.ExportFiles(ctx, a.e.Job)
	if err != nil {
		return fmt.Errorf("read what was planned before: %w", err)
	}
	for _, old := range before {
		if old.Upload == "" {
			continue
		}
		if same := find(files, old); same != nil {
			same.Upload = old.Upload
		} else if err := b.Abort(ctx, old.Path, old.Upload); err != nil {
			return err
		}
	}
	return a.change(a.d.leased.PlanExport(ctx, a.e, files))
}

// find returns the file of a plan that goes to the same place with the same bytes.
func find(files []store.ExportFile, old store.ExportFile) *store.ExportFile {
	for i := range files {
		if f := &files[i]; f.Name == old.Name && f.Path == old.Path && string(f.SHA256) == string(old.SHA256) {
			return f
		}
	}
	return nil
}

// deliver copies one file.
func (a *attempt) deliver(ctx context.Context, b *foreign.Bucket, f *store.ExportFile) error {
	o := foreign.Object{
		Path: f.Path, Media: f.MediaType, Size: f.Bytes, SHA256: [sha256.Size]byte(f.SHA256), Upload: f.Upload,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return a.read(ctx, f) },
		Began: func(ctx context.Context, id string) error {
			return a.d.leased.BeginExportUpload(ctx, a.e, f.Name, id)
		},
	}
	if err := b.Put(ctx, o); err != nil {
		return err
	}
	if err := a.change(a.d.leased.ExportFileDone(ctx, a.e, f.Name)); err != nil {
		return err
	}
	a.moved = true
	return nil
}

// read opens the bytes of a file.
func (a *attempt) read(ctx context.Context, f *store.ExportFile) (io.ReadCloser, error) {
	if f.ObjectKey == "" {
		return io.NopCloser(strings.NewReader(f.Content)), nil
	}
	r, _, err := a.d.deps.Source.Get(ctx, f.ObjectKey, blob.GetOptions{})
	if err != nil && job.KindOf(err) == job.NotFound { // it was replaced, as a redo does
		a.replan = true
		err = &job.Error{Op: "export.read", JobID: a.e.JobID, Kind: job.Unavailable, Public: "A file of the job is not in our own bucket any more.", Err: err}
	}
	return r, err
}

// change tells of the version that a statement has made.
func (a *attempt) change(v store.Version, err error) error {
	if err == nil {
		a.d.deps.Changed(v.ID, v.Version)
	}
	return err
}
