package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/pg"
)

// Export is the files of a job that are due for a bucket of its owner's.
type Export struct {
	Job     int64 // how the database names the job
	JobID   job.ID
	Tenant  job.Tenant
	Round   int // the fence of every write
	Planned bool

	Attempts int           // in a row and in vain
	Failing  time.Duration // since the first of these

	BucketID string
	Exists   bool // the bucket; without it the rest is empty
	Place    foreign.Place
	SealedBy string
	Sealed   []byte

	Language string
	Metadata job.Metadata // what the files say
	Output   job.Output
	Callback *job.Callback
}

// DueExports returns up to limit exports that are due, except those of some jobs and
// tenants. What is returned stays due: one leader works on it.
func (s *Store) DueExports(ctx context.Context, limit int, jobs []int64, tenants []job.Tenant) ([]Export, error) {
	if jobs == nil {
		jobs = []int64{}
	}
	rows, err := s.pool.Query(ctx, s.q.Get("DueExports"), limit, jobs, texts(tenants))
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (e Export, err error) {
		var failing float64
		var output, callback, about []byte
		var title, author, voice string
		p := &e.Place
		err = r.Scan(&e.Job, &e.JobID, &e.Tenant, &e.Round, &e.Planned, &e.Attempts, &failing, &e.BucketID, &e.Exists, &p.Endpoint, &p.Region, &p.Bucket,
			&p.Prefix, &p.PathStyle, &e.SealedBy, &e.Sealed, &title, &author, &about, &e.Language, &voice, &output, &callback)
		if err != nil {
			return e, err
		}
		e.Failing = time.Duration(failing * float64(time.Second))
		var document job.Metadata
		err = errors.Join(json.Unmarshal(output, &e.Output), json.Unmarshal(callback, &e.Callback), json.Unmarshal(about, &document))
		document.Title, document.Author, document.Narrator = title, author, voice
		e.Metadata = e.Output.Metadata.Or(document)
		return e, err
	})
	return list, pg.Classify(err)
}

// ExportArtifact is a file of a job as it is in our bucket.
type ExportArtifact struct {
	Name, MediaType, ObjectKey string
	Bytes                      int64
	SHA256                     []byte
}

// ExportChapter is a chapter that is ready.
type ExportChapter struct {
	Ordinal int
	Title   string
	Seconds float64
}

// ExportSource returns what a job has: its files by name, and its chapters in order.
func (s *Store) ExportSource(ctx context.Context, num int64) (files []ExportArtifact, chapters []ExportChapter, err error) {
	rows, err := s.pool.Query(ctx, s.q.Get("ExportArtifacts"), num)
	if err != nil {
		return nil, nil, pg.Classify(err)
	}
	if files, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ExportArtifact]); err != nil {
		return nil, nil, pg.Classify(err)
	}
	if rows, err = s.pool.Query(ctx, s.q.Get("ExportChapters"), num); err != nil {
		return nil, nil, pg.Classify(err)
	}
	chapters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ExportChapter])
	return files, chapters, pg.Classify(err)
}

// ExportFile is one file and where it goes.
type ExportFile struct {
	Name, Path, MediaType string
	Bytes                 int64
	SHA256                []byte
	ObjectKey             string // in our bucket; empty: Content is the file
	Content               string
	Upload                string // id of the upload in parts that was begun
	Done                  bool
}

// ExportFiles returns the files of an export that is planned, those made for the bucket last.
func (s *Store) ExportFiles(ctx context.Context, num int64) ([]ExportFile, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("ExportFiles"), num)
	if err != nil {
		return nil, pg.Classify(err)
	}
	files, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ExportFile])
	return files, pg.Classify(err)
}

// ErrExportOver says that an export has ended, or began anew: what is under way of
// it counts no more.
var ErrExportOver = errors.New("the export has ended or began anew")

// PlanExport stores what goes where, in place of what was stored before.
func (s *Leased) PlanExport(ctx context.Context, e Export, files []ExportFile) (v Version, err error) {
	var names, paths, media, keys, uploads []string
	var contents []*string
	var sizes []int64
	var sums [][]byte
	for i := range files {
		f := &files[i]
		names, paths, media, sizes, sums = append(names, f.Name), append(paths, f.Path), append(media, f.MediaType), append(sizes, f.Bytes), append(sums, f.SHA256)
		keys, uploads = append(keys, f.ObjectKey), append(uploads, f.Upload)
		var content *string
		if f.ObjectKey == "" {
			content = &f.Content
		}
		contents = append(contents, content)
	}
	columns := []any{e.Job, names, paths, media, sizes, sums, keys, contents, uploads}
	err = s.tx(ctx, func(tx pgx.Tx) error {
		var num int64
		if err := tx.QueryRow(ctx, s.q.Get("LockExport"), e.Job, e.Round).Scan(&num); err != nil {
			return over(err)
		}
		if _, err := tx.Exec(ctx, s.q.Get("DropExportFiles"), num); err != nil {
			return fmt.Errorf("drop the former files: %w", err)
		}
		if _, err := tx.Exec(ctx, s.q.Get("InsertExportFiles"), columns...); err != nil {
			return fmt.Errorf("insert %d files: %w", len(files), err)
		}
		return tx.QueryRow(ctx, s.q.Get("ExportPlanned"), num, len(files)).Scan(&v.ID, &v.Version)
	})
	return v, err
}

func over(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrExportOver
	}
	return err
}

// BeginExportUpload keeps the id of an upload in parts.
func (s *Leased) BeginExportUpload(ctx context.Context, e Export, name, upload string) error {
	n, err := s.exec(ctx, "BeginExportUpload", e.Job, e.Round, name, upload)
	if err == nil && n == 0 {
		err = ErrExportOver
	}
	return err
}

// ExportFileDone notes that a file is in the bucket.
func (s *Leased) ExportFileDone(ctx context.Context, e Export, name string) (Version, error) {
	return s.exported(ctx, "ExportFileDone", e.Job, e.Round, name)
}

// PostponeExport notes why an attempt was in vain; the next is due after wait. With
// replan, what goes where is found out anew then.
func (s *Leased) PostponeExport(ctx context.Context, e Export, wait time.Duration, kind job.Kind, detail string, replan bool) (Version, error) {
	return s.exported(ctx, "PostponeExport", e.Job, e.Round, wait.Seconds(), kind.String(), detail, replan)
}

// The states in which an export ends.
const (
	ExportDelivered = "delivered"
	ExportFailed    = "failed"
)

// EndExport ends an export: delivered, or failed with the reason. Whoever asked for
// it is told in the same transaction.
func (s *Leased) EndExport(ctx context.Context, e Export, state, kind, detail string) (Version, error) {
	event, url := job.EventDelivered, ""
	if state == ExportFailed {
		event = job.EventDeliveryFailed
	}
	if e.Callback.Wants(event) {
		url = e.Callback.URL
	}
	id, err := job.NewToken("dlv_", s.random)
	if err != nil {
		return Version{}, err
	}
	return s.exported(ctx, "EndExport", e.Job, e.Round, state, kind, detail, id, event, url)
}

// exported runs a statement that returns the version that the job got, or nothing if
// the export is over.
func (s *Leased) exported(ctx context.Context, query string, args ...any) (Version, error) {
	list, err := change(ctx, s, query, args, func(r pgx.CollectableRow) (v Version, err error) {
		err = r.Scan(&v.ID, &v.Version)
		return v, err
	})
	if err != nil {
		return Version{}, fmt.Errorf("%s: %w", query, err)
	}
	if len(list) == 0 {
		return Version{}, ErrExportOver
	}
	return list[0], nil
}
