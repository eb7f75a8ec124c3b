package assemble

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// ManifestName is the artifact that describes all others of a job.
const ManifestName = "manifest.json"

// finish ends a job whose chapters are all final, unless that is not due any more.
func (a *Assembler) finish(ctx context.Context, d store.Due) error {
	id := d.JobID
	j, err := a.deps.Store.Job(ctx, id)
	if job.KindOf(err) == job.NotFound {
		return nil // the job was deleted
	}
	if err != nil {
		return err
	}
	if j.Final || j.State != job.StateAssembling || j.ChaptersReady+j.ChaptersFailed != j.ChaptersTotal {
		return a.deps.Store.DropStale(ctx, id, 0) // if a chapter is being made again, its end makes this due again
	}
	end, err := a.verdict(ctx, j)
	if err != nil {
		return err
	}
	if end.State != job.StateFailed {
		if err := a.encoded(ctx, j, &end); err != nil {
			return err
		}
	}
	if end.Quality, err = a.quality(ctx, j); err == nil {
		end.Files, err = a.files(ctx, j, end)
	}
	if stale, ok := errors.AsType[*staleError](err); ok {
		a.deps.Log.WarnContext(ctx, "a chapter is joined again", slog.String("job_id", string(id)), slog.String("error", err.Error()))
		return a.deps.Store.RejoinChapter(ctx, id, stale.ordinal)
	}
	if err != nil {
		return err
	}
	ok, err := a.deps.Store.FinishJob(ctx, j, end)
	if job.KindOf(err) == job.NotFound {
		a.discardAll(ctx, end.Files)
		return nil // the job was deleted
	}
	if err != nil {
		return fmt.Errorf("end job %s: %w", id, err)
	}
	if !ok { // another worker was faster
		a.discardAll(ctx, end.Files)
	}
	a.deps.Tell(bus.Settled{Job: j.Num, Attempt: max(d.Attempt, 1), Tenant: j.Tenant, Class: j.Class, Pool: bus.PoolAssemble})
	if ok {
		a.deps.Meter.Ended(end.State)
		a.deps.Log.InfoContext(ctx, "job ended", slog.String("job_id", string(id)), slog.String("state", string(end.State)))
	}
	return nil
}

// verdict decides how a job ends, and computes the completeness proof from what
// was really joined.
func (a *Assembler) verdict(ctx context.Context, j store.Job) (store.End, error) {
	digest := job.NewOrderDigest()
	fault, kind := "", job.Engine.String() // of the first chapter that failed although its segments did not
	for c, err := range a.chapters(ctx, j.ID) {
		if err != nil {
			return store.End{}, err
		}
		if c.State == job.ChapterReady {
			digest.Add(hex.EncodeToString(c.Proof))
		} else if fault == "" && c.SegmentsFailed == 0 {
			fault, kind = fmt.Sprintf("Chapter %d: %s", c.Ordinal, c.ErrorDetail), c.ErrorKind
		}
	}
	end := store.End{Proof: digest.Sum(), State: job.StateFailed, ErrorKind: job.Engine.String()}
	switch {
	case j.SegmentsFailed == 0 && j.ChaptersFailed == 0 && bytes.Equal(end.Proof, j.PlanDigest):
		end.State, end.ErrorKind = job.StateSucceeded, ""
		return end, nil
	case j.SegmentsFailed == 0 && j.ChaptersFailed == 0:
		end.ErrorKind, end.ErrorDetail = job.Internal.String(), "The chapters that were joined are not the ones that were planned."
		return end, nil
	case j.SegmentsFailed == 0:
		end.ErrorKind = kind
		end.ErrorDetail = fmt.Sprintf("%d of %d chapters failed. %s", j.ChaptersFailed, j.ChaptersTotal, fault)
		return end, nil
	case j.OnFailure == job.AllowPartial && j.ChaptersReady > 0:
		end.State = job.StatePartial
	}
	end.ErrorDetail = fmt.Sprintf("%d of %d segments failed.", j.SegmentsFailed, j.SegmentsTotal)
	first, ok, err := a.deps.Store.FirstFailure(ctx, j.Num)
	if err != nil {
		return end, err
	}
	if ok {
		end.ErrorKind = first.Kind
		end.ErrorDetail += fmt.Sprintf(" Segment %d: %s", first.N, first.Detail)
	}
	return end, nil
}

// encoded makes a job fail of which a file could not be made.
func (a *Assembler) encoded(ctx context.Context, j store.Job, end *store.End) error {
	p, ok, err := a.deps.Store.FirstParkedEncoding(ctx, j.ID)
	if err != nil || !ok {
		return err
	}
	what := "The book"
	if p.Ordinal > 0 {
		what = fmt.Sprintf("Chapter %d", p.Ordinal)
	}
	end.State, end.ErrorKind, end.ErrorDetail = job.StateFailed, p.Kind, what+": "+p.Detail
	return nil
}

// chapters reads the rows of a job's chapters in order, a page at a time.
func (a *Assembler) chapters(ctx context.Context, id job.ID) iter.Seq2[store.FinalChapter, error] {
	return func(yield func(store.FinalChapter, error) bool) {
		for after := 0; ; {
			page, err := a.deps.Store.Chapters(ctx, id, after, a.cfg.Page)
			if err != nil {
				yield(store.FinalChapter{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
				after = c.Ordinal
			}
			if len(page) < a.cfg.Page {
				return
			}
		}
	}
}

// ending is how a job ends, and what the manifest says besides.
type ending struct {
	store.End
	along *ManifestReadAlong
}

// files stores what there is of a job only when it ends: its subtitles, the book that
// reads along, then its manifest.
func (a *Assembler) files(ctx context.Context, j store.Job, end store.End) (files []store.Artifact, err error) {
	defer func() {
		if err != nil {
			a.discardAll(ctx, files)
		}
	}()
	for _, format := range j.Subtitles {
		some, err := a.subtitles(ctx, j, format)
		files = append(files, some...)
		if err != nil {
			return files, fmt.Errorf("store subtitles: %w", err)
		}
	}
	ending := ending{End: end}
	if j.ReadAlong && end.State != job.StateFailed {
		f, along, err := a.readAlong(ctx, j)
		if err != nil {
			return files, fmt.Errorf("store the book that reads along: %w", err)
		}
		if along != nil {
			files, ending.along = append(files, f), along
		}
	}
	key, err := a.deps.Store.SigningKey(ctx)
	if err != nil {
		return files, err
	}
	if ending.Files, err = a.beside(ctx, j, files); err != nil {
		return files, err
	}
	m, err := a.store(ctx, j, ManifestName, "application/json", func(ctx context.Context, w io.Writer) error {
		return a.writeSigned(ctx, w, j, ending, key)
	})
	if err != nil {
		return files, fmt.Errorf("store the manifest: %w", err)
	}
	return append(files, m), nil
}

// beside returns the files that a manifest names beside those of the chapters: what was
// encoded before, and fresh, which takes the place of what had its names.
func (a *Assembler) beside(ctx context.Context, j store.Job, fresh []store.Artifact) ([]store.Artifact, error) {
	all, err := a.deps.Store.FilesBeside(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	named := make(map[string]bool, len(fresh))
	for _, f := range fresh {
		named[f.Name] = true
	}
	all = slices.DeleteFunc(all, func(f store.Artifact) bool { return named[f.Name] })
	return append(all, fresh...), nil
}

// store writes a file of j to the bucket while write produces it.
func (a *Assembler) store(ctx context.Context, j store.Job, name, media string, write func(context.Context, io.Writer) error) (store.Artifact, error) {
	key, err := a.deps.Store.FileKey(j.Tenant, j.ID, name)
	if err != nil {
		return store.Artifact{}, err
	}
	sum, size, err := a.upload(ctx, key, -1, media, write)
	return store.Artifact{Name: name, MediaType: media, ObjectKey: key, Bytes: size, SHA256: sum}, err
}

func (a *Assembler) discardAll(ctx context.Context, files []store.Artifact) {
	for _, f := range files {
		a.discard(ctx, f.ObjectKey)
	}
}
