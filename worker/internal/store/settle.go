package store

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Claim asks whether the segment of a message is still to be worked on.
type Claim struct {
	Ref
	RenditionKey string // as the message has it; a segment that was changed since is not the same work
}

// Wanted is a segment that is to be worked on.
type Wanted struct {
	Ref
	Attempt    int  // the attempt that counts now; a message that was released again carries an older one
	Rendered   bool // its rendition is stored already: no engine is needed
	ObjectKey  string
	SampleRate int
	Samples    int64
}

// Wanted returns those of claims whose segment is released, whose job is not
// final and whose rendition key is still the same, in no particular order.
func (s *Store) Wanted(ctx context.Context, claims []Claim) ([]Wanted, error) {
	ids := make([]string, len(claims))
	ns := make([]int32, len(claims))
	keys := make([]string, len(claims))
	for i, c := range claims {
		ids[i], ns[i], keys[i] = string(c.JobID), int32(c.N), c.RenditionKey //nolint:gosec // at most 200,000 segments
	}
	return collect(ctx, s, "Wanted", func(row pgx.CollectableRow) (w Wanted, err error) {
		err = row.Scan(&w.JobID, &w.N, &w.Attempt, &w.Rendered, &w.ObjectKey, &w.SampleRate, &w.Samples)
		return w, err
	}, ids, ns, keys)
}

// Rendition is one stored WAV.
type Rendition struct {
	Key        string
	Tenant     job.Tenant
	ObjectKey  string
	SampleRate int
	Samples    int64
	Bytes      int64
	SHA256     []byte
	Marks      json.RawMessage // nil when the engine told no times
	Engine     string
}

// Outcome is what became of one segment under one attempt. State is one of
// job.SegmentDone, job.SegmentPending (to be tried again after Delay) and
// job.SegmentFailed.
type Outcome struct {
	Ref
	Attempt      int
	State        job.SegmentState
	Rendition    *Rendition // of a segment that is done; nil if its row exists already
	Verdict      string     // what the check of the audio said
	GPUSeconds   float64    // engine time spent on this attempt
	DelaySeconds float64    // before a pending segment may be released again
	ErrorKind    job.Kind
	ErrorDetail  string // shown to the owner of the job
}

// Settled is what became of outcomes.
type Settled struct {
	Applied  []bool           // for each outcome; false: the segment was no longer released under that attempt
	Versions map[job.ID]int64 // of the jobs that changed
}

// MaxGroup is how many outcomes one Settle takes at most.
const MaxGroup = 500

// Settle stores outcomes in one transaction: the renditions, the segments, the
// counters of chapters and jobs, and whatever becomes due because of them.
func (s *Store) Settle(ctx context.Context, outcomes []Outcome) (Settled, error) {
	var done Settled
	err := s.tx(ctx, func(tx pgx.Tx) (err error) {
		done, err = s.settle(ctx, tx, outcomes)
		return err
	})
	if err != nil {
		return Settled{}, err
	}
	return done, nil
}

func (s *Store) settle(ctx context.Context, tx pgx.Tx, outcomes []Outcome) (Settled, error) {
	done := Settled{Applied: make([]bool, len(outcomes))}
	jobs := jobsOf(outcomes)
	if _, err := s.exec(ctx, tx, "LockJobs", jobs); err != nil {
		return done, err
	}
	if err := s.addRenditions(ctx, tx, outcomes); err != nil {
		return done, err
	}
	for _, step := range settleSteps() {
		if err := s.settleStep(ctx, tx, step, outcomes, done.Applied); err != nil {
			return done, err
		}
	}
	if !slices.Contains(done.Applied, true) {
		return done, nil
	}
	if _, err := s.exec(ctx, tx, "AdvanceJobs", jobs); err != nil {
		return done, err
	}
	var err error
	done.Versions, err = s.versions(ctx, tx, jobs)
	return done, err
}

func jobsOf(outcomes []Outcome) []string {
	ids := make([]string, len(outcomes))
	for i, o := range outcomes {
		ids[i] = string(o.JobID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (s *Store) addRenditions(ctx context.Context, tx pgx.Tx, outcomes []Outcome) error {
	var c struct {
		keys, tenants, objects, engines []string
		rates                           []int32
		samples, bytes                  []int64
		sums                            [][]byte
		marks                           []*string
	}
	for _, o := range outcomes {
		r := o.Rendition
		if r == nil || o.State != job.SegmentDone {
			continue
		}
		c.keys, c.tenants = append(c.keys, r.Key), append(c.tenants, string(r.Tenant))
		c.objects, c.engines = append(c.objects, r.ObjectKey), append(c.engines, r.Engine)
		c.rates = append(c.rates, int32(r.SampleRate)) //nolint:gosec // at most 192 kHz
		c.samples, c.bytes = append(c.samples, r.Samples), append(c.bytes, r.Bytes)
		c.sums = append(c.sums, r.SHA256)
		c.marks = append(c.marks, textOrNil(r.Marks))
	}
	if len(c.keys) == 0 {
		return nil
	}
	_, err := s.exec(ctx, tx, "AddRenditions", c.keys, c.tenants, c.objects, c.rates, c.samples, c.bytes, c.sums, c.marks, c.engines)
	return err
}

func textOrNil(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	text := string(raw)
	return &text
}

// A settleStep is one statement and the outcomes it is for.
type settleStep struct {
	query string
	state job.SegmentState
	extra func([]Outcome) []any // the columns after job, n, attempt, GPU-seconds
}

func settleSteps() []settleStep {
	return []settleStep{
		{"SettleDone", job.SegmentDone, func(os []Outcome) []any {
			return []any{column(os, func(o Outcome) string { return o.Verdict })}
		}},
		{"SettleRetry", job.SegmentPending, func(os []Outcome) []any {
			return []any{column(os, func(o Outcome) float64 { return o.DelaySeconds }), column(os, kindOf), column(os, detailOf)}
		}},
		{"SettleFailed", job.SegmentFailed, func(os []Outcome) []any {
			return []any{column(os, kindOf), column(os, detailOf)}
		}},
	}
}

func kindOf(o Outcome) string   { return o.ErrorKind.String() }
func detailOf(o Outcome) string { return o.ErrorDetail }

func column[T any](outcomes []Outcome, field func(Outcome) T) []T {
	out := make([]T, len(outcomes))
	for i, o := range outcomes {
		out[i] = field(o)
	}
	return out
}

// try is one attempt at one segment.
type try struct {
	Ref
	attempt int
}

func (s *Store) settleStep(ctx context.Context, tx pgx.Tx, step settleStep, outcomes []Outcome, applied []bool) error {
	var mine []Outcome
	index := map[try][]int{}
	for i, o := range outcomes {
		if o.State == step.state {
			mine = append(mine, o)
			index[try{o.Ref, o.Attempt}] = append(index[try{o.Ref, o.Attempt}], i)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	args := append([]any{
		column(mine, func(o Outcome) string { return string(o.JobID) }),
		column(mine, func(o Outcome) int32 { return int32(o.N) }),       //nolint:gosec // at most 200,000 segments
		column(mine, func(o Outcome) int32 { return int32(o.Attempt) }), //nolint:gosec // a handful
		column(mine, func(o Outcome) float64 { return o.GPUSeconds }),
	}, step.extra(mine)...)
	rows, err := tx.Query(ctx, s.q.Get(step.query), args...)
	if err != nil {
		return err
	}
	var t try
	_, err = pgx.ForEachRow(rows, []any{&t.JobID, &t.N, &t.attempt}, func() error {
		for _, i := range index[t] {
			applied[i] = true
		}
		return nil
	})
	return err
}

func (s *Store) versions(ctx context.Context, tx pgx.Tx, jobs []string) (map[job.ID]int64, error) {
	rows, err := tx.Query(ctx, s.q.Get("JobVersions"), jobs)
	if err != nil {
		return nil, err
	}
	out := make(map[job.ID]int64, len(jobs))
	var id job.ID
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		out[id] = version
		return nil
	})
	return out, err
}
