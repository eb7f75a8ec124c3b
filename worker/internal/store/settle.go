package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/worker/internal/loudness"
)

// Rendition is one stored WAV.
type Rendition struct {
	Key        string
	Tenant     job.Tenant
	Suffix     string // of its object's name, see [ObjectKey]
	SampleRate int
	Samples    int64
	Bytes      int64
	SHA256     []byte
	Verdict    string          // what the check of the audio had to remark
	Marks      json.RawMessage // nil when the engine told no times
	Sound      *Sound          // nil if it was not measured
	Hearing    *job.Hearing    // nil if it was not heard
}

// Sound is what is stored of how a rendition sounds; see package loudness.
type Sound struct {
	LUFS, RMS, TruePeak float32
	Lead, Tail          int32 // silent samples at both ends
}

// SoundOf returns what is stored of f.
func SoundOf(f loudness.Figures) *Sound {
	return &Sound{
		LUFS: float32(f.LUFS), RMS: float32(f.RMS), TruePeak: float32(f.TruePeak),
		Lead: int32(f.Lead), Tail: int32(f.Tail), //nolint:gosec // a segment is minutes, not hours
	}
}

// ObjectKey returns where the WAV of a rendition is stored.
func ObjectKey(tenant job.Tenant, key, suffix string) string {
	return fmt.Sprintf("renditions/%s/%s/%s%s.wav", tenant, key[:2], key, suffix)
}

// Died is the state of an Outcome whose workers died: the segment comes again,
// alone, and is not charged.
const Died job.SegmentState = "died"

// Outcome is what became of one segment under one attempt. State is one of
// job.SegmentDone, job.SegmentPending (to be tried again after the delay),
// job.SegmentFailed and Died.
type Outcome struct {
	Ref
	Segment      int
	Chapter      int
	Key          string  // of its rendition
	Seconds      float64 // predicted
	State        job.SegmentState
	Rendition    *Rendition // of a segment that is done; nil if its row exists already
	GPUSeconds   float64    // engine time spent on this attempt
	DelaySeconds float64    // before the segment may be released again
	ErrorKind    job.Kind
	ErrorDetail  string // shown to the owner of the job

	Tenant job.Tenant // these are for the note only
	Class  job.Class
	Pool   string
}

// Change tells of a job that outcomes changed.
type Change struct {
	ID      job.ID
	Version int64
	Whole   bool // its only segment is final: it can be joined and ended at once
}

// Settled is what became of outcomes.
type Settled struct {
	Applied []bool    // for each outcome; false: its segment was not wanted any more, or its rendition was gone
	Audio   []float64 // for each outcome, the seconds of audio
	Changes []Change
}

// MaxGroup is how many outcomes one Settle takes at most.
const MaxGroup = 500

// Settle stores outcomes in one transaction: the renditions, the segments, the
// counters of chapters and jobs, and whatever becomes due because of them. It
// takes one round trip.
func (s *Store) Settle(ctx context.Context, outcomes []Outcome) (Settled, error) {
	done, err := s.settleAll(ctx, outcomes, false)
	if job.KindOf(err) == job.Conflict { // somebody else stored one of the renditions
		return s.settleAll(ctx, outcomes, true)
	}
	return done, err
}

// settleAll stores outcomes in one transaction. Unless careful, it fails with a
// conflict if a rendition of them is there already.
func (s *Store) settleAll(ctx context.Context, outcomes []Outcome, careful bool) (done Settled, err error) {
	var changes map[int64]Change
	err = pg.Batch(ctx, s.pool, func(b *pgx.Batch) error {
		done = Settled{Applied: make([]bool, len(outcomes)), Audio: make([]float64, len(outcomes))}
		changes = map[int64]Change{}
		return s.queueAll(b, outcomes, careful, &done, changes)
	})
	if err != nil {
		return Settled{}, fmt.Errorf("settle %d outcomes: %w", len(outcomes), err)
	}
	for i, ok := range done.Applied {
		if c, there := changes[outcomes[i].Job]; ok && there {
			done.Changes = append(done.Changes, c)
			delete(changes, outcomes[i].Job)
		}
	}
	return done, nil
}

// queueAll adds all that settles outcomes. What came of it is noted in done and changes.
func (s *Store) queueAll(b *pgx.Batch, outcomes []Outcome, careful bool, done *Settled, changes map[int64]Change) error {
	jobs := jobsOf(outcomes)
	b.Queue(s.q.Get("LockJobs"), jobs)
	if err := s.addRenditions(b, outcomes, careful); err != nil {
		return err
	}
	if err := s.queueSettle(b, outcomes, careful, done); err != nil {
		return err
	}
	touched, chapters := make([]int64, len(outcomes)), make([]int32, len(outcomes))
	for i, o := range outcomes {
		touched[i], chapters[i] = o.Job, int32(o.Chapter) //nolint:gosec // at most 200,000 chapters
	}
	b.Queue(s.q.Get("AdvanceJobs"), touched, chapters)
	b.Queue(s.q.Get("JobVersions"), jobs).Query(func(rows pgx.Rows) error {
		var num int64
		var c Change
		_, err := pgx.ForEachRow(rows, []any{&num, &c.ID, &c.Version, &c.Whole}, func() error {
			changes[num] = c
			return nil
		})
		return err
	})
	return nil
}

func jobsOf(outcomes []Outcome) []int64 {
	nums := make([]int64, len(outcomes))
	for i, o := range outcomes {
		nums[i] = o.Job
	}
	slices.Sort(nums)
	return slices.Compact(nums)
}

func (s *Store) addRenditions(b *pgx.Batch, outcomes []Outcome, careful bool) error {
	var c struct {
		keys, sums                  [][]byte
		tenants, suffixes, verdicts []string
		rates, samples, bytes       []int32
		marks, hearings             []*string
		lufs, rms, truePeaks        []*float32
		leads, tails                []*int32
	}
	for _, o := range outcomes {
		r := o.Rendition
		if r == nil || o.State != job.SegmentDone {
			continue
		}
		key, err := decodeKey(r.Key)
		if err != nil {
			return err
		}
		c.keys, c.sums = append(c.keys, key), append(c.sums, r.SHA256)
		c.tenants, c.suffixes, c.verdicts = append(c.tenants, string(r.Tenant)), append(c.suffixes, r.Suffix), append(c.verdicts, r.Verdict)
		c.rates, c.samples, c.bytes = append(c.rates, int32(r.SampleRate)), append(c.samples, int32(r.Samples)), append(c.bytes, int32(r.Bytes)) //nolint:gosec // a segment is minutes, not hours
		c.marks = append(c.marks, textOrNil(r.Marks))
		hearing, err := encodeHearing(r.Hearing)
		if err != nil {
			return err
		}
		c.hearings = append(c.hearings, textOrNil(hearing))
		var lufs, rms, truePeak *float32
		var lead, tail *int32
		if h := r.Sound; h != nil {
			lufs, rms, truePeak, lead, tail = &h.LUFS, &h.RMS, &h.TruePeak, &h.Lead, &h.Tail
		}
		c.lufs, c.rms, c.truePeaks = append(c.lufs, lufs), append(c.rms, rms), append(c.truePeaks, truePeak)
		c.leads, c.tails = append(c.leads, lead), append(c.tails, tail)
	}
	name := "AddRenditions"
	if careful {
		name = "AddMissingRenditions"
	}
	if len(c.keys) > 0 {
		b.Queue(s.q.Get(name), c.keys, c.tenants, c.suffixes, c.rates, c.samples, c.bytes, c.sums, c.verdicts, c.marks,
			c.lufs, c.rms, c.truePeaks, c.leads, c.tails, c.hearings)
	}
	return nil
}

func textOrNil(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	text := string(raw)
	return &text
}

func (s *Store) queueSettle(b *pgx.Batch, outcomes []Outcome, careful bool, done *Settled) error {
	refs, keys := make([]Ref, len(outcomes)), make([][]byte, len(outcomes))
	for i, o := range outcomes {
		var err error
		if keys[i], err = decodeKey(o.Key); err != nil {
			return err
		}
		refs[i] = o.Ref
	}
	jobs, bundles, attempts := columns(refs)
	b.Queue(s.q.Get("Settle"), jobs, bundles, attempts,
		column(outcomes, func(o Outcome) int32 { return int32(o.Segment) }), //nolint:gosec // at most 200,000 segments
		column(outcomes, func(o Outcome) int32 { return int32(o.Chapter) }), //nolint:gosec // likewise
		column(outcomes, func(o Outcome) string { return string(o.State) }),
		keys,
		column(outcomes, func(o Outcome) float64 { return o.Seconds }),
		column(outcomes, func(o Outcome) float64 { return o.GPUSeconds }),
		column(outcomes, func(o Outcome) float64 { return o.DelaySeconds }),
		column(outcomes, kindOf),
		column(outcomes, func(o Outcome) string { return o.ErrorDetail }),
		column(outcomes, func(o Outcome) *float64 { return added(o, careful) }),
	).Query(func(rows pgx.Rows) error {
		var at int
		var audio float64
		_, err := pgx.ForEachRow(rows, []any{&at, &audio}, func() error {
			done.Applied[at-1], done.Audio[at-1] = true, audio
			return nil
		})
		return err
	})
	return nil
}

// added returns the audio of a rendition that this transaction adds, in seconds;
// nil if it may be another's.
func added(o Outcome, careful bool) *float64 {
	if careful || o.Rendition == nil || o.State != job.SegmentDone {
		return nil
	}
	seconds := float64(o.Rendition.Samples) / float64(o.Rendition.SampleRate)
	return &seconds
}

// kindOf is what is stored beside an outcome; a segment that is done has none.
func kindOf(o Outcome) string {
	if o.State == job.SegmentDone {
		return ""
	}
	return o.ErrorKind.String()
}

func column[T any](outcomes []Outcome, field func(Outcome) T) []T {
	out := make([]T, len(outcomes))
	for i, o := range outcomes {
		out[i] = field(o)
	}
	return out
}
