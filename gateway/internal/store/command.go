package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Outcome says what a command did to a job. A command that finds things as it
// wants them changes nothing, so it may be repeated.
type Outcome struct {
	ID      job.ID    `json:"id"`
	State   job.State `json:"state"`
	Version int64     `json:"version"` // as it is now
	Changed bool      `json:"changed"` // else it was so already
}

// PauseJob keeps a job from the engines until it is resumed: nothing of it is
// begun from then on. What engines are speaking is kept, and what is spoken is
// joined; a job all of which is spoken ends. An empty tenant is any.
func (s *Store) PauseJob(ctx context.Context, tenant job.Tenant, id job.ID) (Outcome, error) {
	return s.command(ctx, "PauseJob", id, id, tenant)
}

// ResumeJob lets a paused job take its turns again.
func (s *Store) ResumeJob(ctx context.Context, tenant job.Tenant, id job.ID) (Outcome, error) {
	return s.command(ctx, "ResumeJob", id, id, tenant)
}

// RedriveJob has what failed of a job done again, and nothing else. A job that
// ended failed or partial is open again, and ends a second time.
func (s *Store) RedriveJob(ctx context.Context, tenant job.Tenant, id job.ID) (Outcome, error) {
	return s.command(ctx, "RedriveJob", id, id, tenant)
}

// DeliverJob has the files of a job delivered into its owner's bucket again, or now
// if they wait for it.
func (s *Store) DeliverJob(ctx context.Context, tenant job.Tenant, id job.ID) (Outcome, error) {
	return s.command(ctx, "DeliverJob", id, id, tenant)
}

// Terms are what orders the work of a job; nil leaves it as it is. The zero time
// takes a deadline away.
type Terms struct {
	Priority *int
	Class    *job.Class
	Deadline *time.Time
}

// forever is how a deadline that is taken away travels.
const forever = "infinity"

// SetJob changes the terms of a job that has not ended.
func (s *Store) SetJob(ctx context.Context, tenant job.Tenant, id job.ID, t Terms) (Outcome, error) {
	var deadline any
	switch {
	case t.Deadline == nil:
	case t.Deadline.IsZero():
		deadline = forever
	default:
		deadline = t.Deadline.UTC().Format(time.RFC3339Nano)
	}
	return s.command(ctx, "SetJob", id, id, tenant, t.Priority, t.Class, deadline)
}

func (s *Store) command(ctx context.Context, query string, id job.ID, args ...any) (o Outcome, err error) {
	err = s.call(ctx, query, func(ctx context.Context) error {
		o, err = outcome(s.pool.QueryRow(ctx, s.queries.Get(query), args...), query, id)
		return err
	})
	return o, err
}

// Why a command cannot be done, as its function says it.
var refusals = map[string]string{
	"ended":    "The job has ended.",
	"segment":  "The job has no such segment.",
	"unspoken": "The segment has not been spoken yet.",
	"text":     "The text of the job is kept no longer.",
	"unended":  "The job has not ended; its files are delivered when it has.",
	"files":    "The files of the job are kept no longer.",
	"nowhere":  "The job names no bucket to deliver into (output.deliver_to).",
}

func outcome(row pgx.Row, op string, id job.ID) (Outcome, error) {
	o := Outcome{ID: id}
	var refused *string
	err := row.Scan(&o.State, &o.Version, &o.Changed, &refused)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return o, &job.Error{Op: "store." + op, JobID: id, Kind: job.NotFound, Public: "There is no such job.", Err: err}
	case err != nil || refused == nil:
		return o, err
	}
	kind := job.Conflict
	if *refused == "segment" {
		kind = job.NotFound
	}
	return o, &job.Error{Op: "store." + op, JobID: id, Kind: kind, Public: refusals[*refused]}
}

// Redo says how a segment is to be spoken again; nil leaves it as it is.
type Redo struct {
	Segment int
	Seed    *int64
	Spoken  *string // in place of the text as it was planned; its pronunciations go
}

// maxSpoken is how many characters a segment may be told to say: about a minute
// and a half; the schema knows it, too.
const maxSpoken = 2000

func (r Redo) validate(id job.ID) error {
	wrong := func(public string) error {
		return &job.Error{Op: "store.RedoSegment", JobID: id, Kind: job.Invalid, Public: public}
	}
	switch {
	case r.Segment < 1:
		return wrong("Segments count from 1.")
	case r.Spoken == nil:
		return nil
	case strings.TrimSpace(*r.Spoken) == "" || !utf8.ValidString(*r.Spoken) || strings.ContainsRune(*r.Spoken, 0):
		return wrong("The text to be spoken is empty or not UTF-8.")
	case utf8.RuneCountInString(*r.Spoken) > maxSpoken:
		return wrong(fmt.Sprintf("The text to be spoken is longer than %d characters.", maxSpoken))
	}
	return nil
}

// RedoSegment has one segment spoken again, with another seed, another text, or
// both, and its chapter joined again. The job may have ended; it ends again. One
// that is as it is asked for already is left alone, unless it failed; one that
// has not been spoken yet is a Conflict.
func (s *Store) RedoSegment(ctx context.Context, tenant job.Tenant, id job.ID, r Redo) (o Outcome, err error) {
	if err := r.validate(id); err != nil {
		return o, err
	}
	err = s.call(ctx, "RedoSegment", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			key, seed, spoken, err := s.redone(ctx, tx, tenant, id, r)
			if err != nil {
				return err
			}
			o, err = outcome(tx.QueryRow(ctx, s.queries.Get("RedoSegment"), id, tenant, r.Segment, key, seed, spoken), "RedoSegment", id)
			return err
		})
	})
	return o, err
}

// redone returns the rendition key that the segment gets, with what differs from
// the plan. It keeps the job's row.
func (s *Store) redone(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID, r Redo) (key []byte, seed *int64, spoken *string, err error) {
	var g job.Rendition
	var now string
	err = tx.QueryRow(ctx, s.queries.Get("SegmentToRedo"), id, r.Segment, tenant).Scan(&g.Tenant, &g.Voice, &g.Language, &g.Pool,
		&g.SampleRate, &g.Engine, &g.Speed, &g.Seed, &seed, &spoken, &g.Text, &g.Pronunciations, &g.Instructions, &now)
	if errors.Is(err, pgx.ErrNoRows) { // no job, or no segment: the command itself says which
		return make([]byte, 32), nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if r.Seed != nil {
		seed, g.Seed = r.Seed, *r.Seed
	}
	if r.Spoken != nil {
		spoken = r.Spoken
	}
	if spoken != nil {
		g.Text, g.Pronunciations = *spoken, ""
	}
	if r.Seed == nil && r.Spoken == nil {
		key, err = hex.DecodeString(now) // as it is: only what failed is done again
	} else {
		key, err = hex.DecodeString(g.Key())
	}
	return key, seed, spoken, err
}
