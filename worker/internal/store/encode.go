package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// PutEncoders makes known what a worker can encode; none is nothing.
func (s *Store) PutEncoders(ctx context.Context, worker string, formats []string) error {
	if formats == nil {
		formats = []string{}
	}
	if _, err := s.pool.Exec(ctx, s.q.Get("PutEncoders"), worker, formats); err != nil {
		return fmt.Errorf("say what can be encoded: %w", pg.Classify(err))
	}
	return nil
}

// Encoding is what making the files of a job needs to know.
type Encoding struct {
	ID       job.ID
	Num      int64
	Tenant   job.Tenant
	Class    job.Class
	Final    bool
	Joined   bool // all chapters are final
	Bound    bool // the files of the book are there
	Chapters int
	Language string
	Metadata job.Metadata // what the files say
	Output   job.Output
}

// Encoding reads one job; NotFound if it is gone.
func (s *Store) Encoding(ctx context.Context, id job.ID) (Encoding, error) {
	e := Encoding{ID: id}
	var output, about []byte
	var title, author, voice string
	err := s.pool.QueryRow(ctx, s.q.Get("Encoding"), id).Scan(&e.Num, &e.Tenant, &e.Class, &e.Final, &e.Joined, &e.Bound,
		&e.Chapters, &title, &author, &about, &e.Language, &output, &voice)
	if err != nil {
		return Encoding{}, fmt.Errorf("read job %s: %w", id, pg.Classify(err))
	}
	var document job.Metadata
	if err := errors.Join(json.Unmarshal(output, &e.Output), json.Unmarshal(about, &document)); err != nil {
		return Encoding{}, &job.Error{Op: "store.Encoding", JobID: id, Kind: job.Internal, Err: fmt.Errorf("read output: %w", err)}
	}
	document.Title, document.Author, document.Narrator = title, author, voice
	e.Metadata = e.Output.Metadata.Or(document)
	return e, nil
}

// CoverOf returns the picture that was stored for a job; ok is false if there is none.
func (s *Store) CoverOf(ctx context.Context, id job.ID) (a Artifact, ok bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("CoverOf"), id).Scan(&a.Name, &a.MediaType, &a.ObjectKey, &a.Bytes, &a.SHA256)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("read the cover of %s: %w", id, pg.Classify(err))
	}
	return a, true, nil
}

// Manuscript is the document that a job was made of.
type Manuscript struct {
	ObjectKey string // empty: it came with the request
	ETag      string
	Media     string
}

// Manuscript returns where the document of a job is; NotFound if the job is gone.
func (s *Store) Manuscript(ctx context.Context, id job.ID) (m Manuscript, err error) {
	if err := s.pool.QueryRow(ctx, s.q.Get("Manuscript"), id).Scan(&m.ObjectKey, &m.ETag, &m.Media); err != nil {
		return m, fmt.Errorf("read the document of %s: %w", id, pg.Classify(err))
	}
	return m, nil
}

// EncodingChapter is a chapter whose WAV is to be encoded.
type EncodingChapter struct {
	Due        bool // it is ready and not encoded yet
	Ordinal    int
	Title      string
	ObjectKey  string // of its WAV, as what follows
	Bytes      int64
	SHA256     []byte
	SampleRate int
	Samples    int64
	Attempts   int
}

// EncodingChapter reads one chapter; NotFound if it is gone.
func (s *Store) EncodingChapter(ctx context.Context, id job.ID, ordinal int) (EncodingChapter, error) {
	c := EncodingChapter{Ordinal: ordinal}
	err := s.pool.QueryRow(ctx, s.q.Get("EncodingChapter"), id, ordinal).Scan(&c.Due, &c.Title, &c.ObjectKey, &c.Bytes, &c.SHA256,
		&c.SampleRate, &c.Samples, &c.Attempts)
	if err != nil {
		return EncodingChapter{}, fmt.Errorf("read chapter %d of %s: %w", ordinal, id, pg.Classify(err))
	}
	return c, nil
}

// Encoded is an encoded file, stored whole.
type Encoded struct {
	Artifact
	CodedSamples int64  // of all its packets, at its sample rate: what the encoder puts before and behind included
	MadeOf       []byte // a digest of all that shapes its bytes, the tenant among it; nil: nobody looks for it
}

// Made returns a file that was made of the same; ok is false if there is none. It may be
// gone by the time that it is read.
func (s *Store) Made(ctx context.Context, of []byte) (e Encoded, ok bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("Made"), of).Scan(&e.ObjectKey, &e.Bytes, &e.SHA256, &e.CodedSamples, &e.Loudness)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("look for a file that was made of the same: %w", pg.Classify(err))
	}
	e.MadeOf = of
	return e, true, nil
}

// ChapterEncoded makes the files of a chapter known; ok is false if they are not of the WAV
// that it has now. What becomes due because of it is noted.
func (s *Store) ChapterEncoded(ctx context.Context, id job.ID, c EncodingChapter, files []Encoded) (ok bool, err error) {
	return s.encoded(ctx, id, c.Ordinal, files, "ChapterEncoded", id, c.Ordinal, c.ObjectKey)
}

// BookBound makes the files of a whole job known; ok is false if a chapter was
// encoded anew after at.
func (s *Store) BookBound(ctx context.Context, id job.ID, at time.Time, files []Encoded) (ok bool, err error) {
	return s.encoded(ctx, id, 0, files, "BookBound", id, at)
}

func (s *Store) encoded(ctx context.Context, id job.ID, ordinal int, files []Encoded, statement string, args ...any) (ok bool, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		ok = false
		if final, err := s.lockJob(ctx, tx, id); err != nil || final {
			return err
		}
		n, err := s.exec(ctx, tx, statement, args...)
		if err != nil || n == 0 {
			return err
		}
		ok = true
		for _, f := range files {
			if _, err := s.exec(ctx, tx, "AddEncoded", id, f.Name, f.MediaType, f.ObjectKey, f.Bytes, f.SHA256, f.AudioSeconds, f.CodedSamples, f.Loudness, f.MadeOf); err != nil {
				return err
			}
		}
		for _, step := range []struct {
			name string
			args []any
		}{{"DropOutbox", []any{dueEncode, id, ordinal}}, {"CountEncoded", []any{id}}, {"AdvanceJob", []any{id}}} {
			if _, err := s.exec(ctx, tx, step.name, step.args...); err != nil {
				return err
			}
		}
		return nil
	})
	return ok && err == nil, err
}

// EncodedAt returns when the last chapter of a job was encoded; ok is false while
// one that is ready is not.
func (s *Store) EncodedAt(ctx context.Context, id job.ID) (at time.Time, ok bool, err error) {
	var last *time.Time
	if err := s.pool.QueryRow(ctx, s.q.Get("EncodedAt"), id).Scan(&last); err != nil {
		return at, false, fmt.Errorf("read what is encoded of %s: %w", id, pg.Classify(err))
	}
	if last == nil {
		return at, false, nil
	}
	return *last, true, nil
}

// EncodedChapter is a chapter's file as it goes into the book.
type EncodedChapter struct {
	Ordinal      int
	Title        string
	SampleRate   int
	Samples      int64
	ObjectKey    string
	Bytes        int64
	SHA256       []byte
	CodedSamples int64
}

// EncodedChapters returns up to limit chapters of a job in order, those after
// ordinal after, with their files whose names end in extension.
func (s *Store) EncodedChapters(ctx context.Context, id job.ID, extension string, after, limit int) ([]EncodedChapter, error) {
	return collect(ctx, s, "EncodedChapters", func(row pgx.CollectableRow) (c EncodedChapter, err error) {
		err = row.Scan(&c.Ordinal, &c.Title, &c.SampleRate, &c.Samples, &c.ObjectKey, &c.Bytes, &c.SHA256, &c.CodedSamples)
		return c, err
	}, id, extension, after, limit)
}

// DropStaleEncoding removes what is noted as due for encoding if it is not due, and
// notes what is due then.
func (s *Store) DropStaleEncoding(ctx context.Context, id job.ID, ordinal int) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := s.lockJob(ctx, tx, id); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, "DropStaleEncoding", id, ordinal); err != nil {
			return err
		}
		_, err := s.exec(ctx, tx, "AdvanceJob", id)
		return err
	})
}

// ParkEncoding gives up an encoding that was tried in vain too often; the job's end names the reason.
func (s *Store) ParkEncoding(ctx context.Context, id job.ID, ordinal int, kind job.Kind, detail string) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if final, err := s.lockJob(ctx, tx, id); err != nil || final {
			return err
		}
		if _, err := s.exec(ctx, tx, "ParkDue", dueEncode, id, ordinal, kind.String(), detail); err != nil {
			return err
		}
		_, err := s.exec(ctx, tx, "AdvanceJob", id)
		return err
	})
}

// ParkedEncoding is an encoding that was given up.
type ParkedEncoding struct {
	Ordinal      int // 0: of the book
	Kind, Detail string
}

// FirstParkedEncoding returns the first encoding of a job that was given up; ok is false if there is none.
func (s *Store) FirstParkedEncoding(ctx context.Context, id job.ID) (p ParkedEncoding, ok bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("FirstParkedEncoding"), id).Scan(&p.Ordinal, &p.Kind, &p.Detail)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read what could not be encoded of %s: %w", id, pg.Classify(err))
	}
	return p, true, nil
}

// FileKey returns a key for a file of a job that nobody used before.
func (s *Store) FileKey(tenant job.Tenant, id job.ID, name string) (string, error) {
	unique, err := job.NewToken("", s.random)
	if err != nil {
		return "", &job.Error{Op: "store.FileKey", JobID: id, Kind: job.Unavailable, Err: err}
	}
	return fmt.Sprintf("jobs/%s/%s/%s/%s", tenant, id, unique, name), nil
}
