package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Ear is somebody who listens to what engines say.
type Ear interface {
	// Wrong returns the share of r's characters that is not heard in a, 0 if all of it is.
	// An error is the ear's, and says nothing of a.
	Wrong(ctx context.Context, r engine.Request, a engine.Audio) (share float64, err error)
}

// Admission is how an engine that is new gets work: it speaks a set of sentences one by
// one, and then as many at once as it will be given. Some engines, or builds of them,
// say something else in company than alone, and nobody but a listener would notice.
type Admission struct {
	// MaxRatio bounds, in the middle of all sentences, how many times as long or as short
	// one is in company; MaxSpread the same without regard to the direction.
	MaxRatio, MaxSpread float64
	// MaxLouder bounds the ratio of levels likewise.
	MaxLouder float64
	// MaxBad is the share that may be judged bad in company, or hold no speech at all.
	MaxBad float64
	// MaxWrong is by how much the share that Ear does not hear may rise in company.
	MaxWrong float64
	Ear      Ear // nil: nobody listens

	Limit time.Duration // of each call
	// Patience is that for Ear, with all that was spoken; what it has not heard by then goes
	// unheard. It is at most half of what is left of the time for the whole.
	Patience time.Duration
}

// DefaultAdmission allows for models that sample: two readings of one sentence differ
// by some 15 % of their length.
func DefaultAdmission() Admission {
	return Admission{MaxRatio: 1.35, MaxSpread: 1.6, MaxLouder: 4, MaxBad: 0.25, MaxWrong: 0.1, Limit: time.Minute, Patience: 5 * time.Minute}
}

// Validate reports bounds that make no sense.
func (a Admission) Validate() error {
	if !(a.MaxRatio > 1) || !(a.MaxSpread > 1) || !(a.MaxLouder > 1) || !(a.MaxBad >= 0 && a.MaxBad < 1) || !(a.MaxWrong >= 0) || min(a.Limit, a.Patience) <= 0 {
		return fmt.Errorf("admission: ratios %g, %g and %g, shares %g and %g, limit %s, patience %s: want more than 1, a share from 0, and more than 0",
			a.MaxRatio, a.MaxSpread, a.MaxLouder, a.MaxBad, a.MaxWrong, a.Limit, a.Patience)
	}
	return nil
}

// errUnheard ends the time for an ear.
var errUnheard = errors.New("the ear took too long")

const (
	leastInCompany = 8  // sentences that are compared
	mostInCompany  = 16 // at once
)

// reading is one sentence as it was spoken.
type reading struct {
	set     int // which sentence
	audio   engine.Audio
	verdict check.Verdict
	heard   bool    // by an ear, which says wrong
	wrong   float64 // the share of its characters that is not heard in it
	err     error
}

// Admit has driver, which is to get so many texts at once, speak alone and in company.
// The error is that of a sentence that it does not speak alone, or wraps
// [engine.ErrRefused]
// and is of kind Invalid. What it fails with in company is not held against it here.
func (a Admission) Admit(ctx context.Context, driver engine.Engine, window int) error {
	info := driver.Info()
	n := min(max(window, info.MaxBatch), mostInCompany)
	if n < 2 {
		return nil
	}
	set := canarySet(info)
	alone := make([]reading, len(set))
	for i := range set {
		alone[i] = a.speak(ctx, driver, set, []int{i})[0]
		if alone[i].err != nil {
			return alone[i].err
		}
	}
	var company []reading
	for len(company) < max(leastInCompany, n) {
		company = append(company, a.together(ctx, driver, set, n)...)
	}
	if err := a.hear(ctx, set, alone, company); err != nil {
		return err
	}
	return a.compare(n, alone, company)
}

// hear has the ear, if there is one, hear what is good of the readings, which is after all
// was spoken: it may have to be started, and shares the machine. What it cannot hear is
// nothing against the engine. The error is of ctx.
func (a Admission) hear(ctx context.Context, set []engine.Request, all ...[]reading) error {
	if a.Ear == nil {
		return nil
	}
	patience := a.Patience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	limited, cancel := context.WithTimeoutCause(ctx, patience, errUnheard)
	defer cancel()
	var hearings sync.WaitGroup
	for _, readings := range all {
		for i := range readings {
			r := &readings[i]
			if r.err != nil || !r.verdict.OK {
				continue
			}
			hearings.Go(func() {
				share, err := a.Ear.Wrong(limited, set[r.set], r.audio)
				r.wrong, r.heard = share, err == nil
			})
		}
	}
	hearings.Wait()
	if ctx.Err() != nil {
		return engine.CallError("fleet.Admit", context.Cause(ctx))
	}
	return nil
}

// together has n sentences spoken at once, in calls as large as the driver makes them.
func (a Admission) together(ctx context.Context, driver engine.Engine, set []engine.Request, n int) []reading {
	size := max(1, driver.Info().MaxBatch)
	all := make([]reading, n)
	var calls sync.WaitGroup
	for from := 0; from < n; from += size {
		which := make([]int, min(size, n-from))
		for i := range which {
			which[i] = (from + i) % len(set)
		}
		calls.Go(func() { copy(all[from:], a.speak(ctx, driver, set, which)) })
	}
	calls.Wait()
	return all
}

// speak has those of set spoken in one call.
func (a Admission) speak(ctx context.Context, driver engine.Engine, set []engine.Request, which []int) []reading {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Limit, errCallTimeout)
	defer cancel()
	batch, all := make([]engine.Request, len(which)), make([]reading, len(which))
	for i, w := range which {
		batch[i], all[i].set = set[w], w
	}
	results, err := driver.Synthesize(ctx, batch)
	for i := range all {
		if all[i].err = err; err != nil {
			continue
		}
		if all[i].err = results[i].Err; results[i].Err != nil {
			continue
		}
		audio := results[i].Audio
		all[i].audio = audio
		all[i].verdict = check.Judge(canaryCheck(), audio.Samples, audio.Rate, canaryCheck().Rough(batch[i].Seconds))
	}
	return all
}

// compare returns why an engine that spoke so is refused.
func (a Admission) compare(n int, alone, company []reading) error {
	refuse := func(format string, args ...any) error {
		why := fmt.Sprintf("With %d texts at once it speaks otherwise than alone: ", n) + fmt.Sprintf(format, args...) + "."
		return &job.Error{Op: "fleet.Admit", Kind: job.Invalid, Public: why, Err: engine.ErrRefused}
	}
	var lengths, levels, spreads, wrong []float64
	bad, reason := 0, ""
	for _, r := range company {
		before := alone[r.set].verdict
		switch {
		case errors.Is(r.err, engine.ErrNoAnswer):
			bad, reason = bad+1, job.PublicOf(r.err, "")
			continue
		case r.err != nil, !before.OK: // a canary says more about that
			continue
		case !r.verdict.OK:
			bad, reason = bad+1, r.verdict.Reason.Says()
			continue
		}
		length := math.Log(r.verdict.Sounding() / before.Sounding())
		lengths, spreads = append(lengths, length), append(spreads, math.Abs(length))
		levels = append(levels, math.Log(r.verdict.RMS/before.RMS))
		if r.heard && alone[r.set].heard {
			wrong = append(wrong, r.wrong-alone[r.set].wrong)
		}
	}
	if len(lengths)+bad == 0 {
		return nil // it failed with all of them, or is no better alone
	}
	if float64(bad) > a.MaxBad*float64(len(lengths)+bad) {
		return refuse("of %d sentences %d are bad: %s", len(lengths)+bad, bad, strings.TrimSuffix(reason, "."))
	}
	length, spread, level := math.Exp(middle(lengths)), math.Exp(middle(spreads)), math.Exp(middle(levels))
	switch {
	case length > a.MaxRatio || length < 1/a.MaxRatio:
		return refuse("it takes %.2f times as long", length)
	case spread > a.MaxSpread:
		return refuse("lengths differ by a factor of %.2f", spread)
	case level > a.MaxLouder || level < 1/a.MaxLouder:
		return refuse("it is %.2f times as loud", level)
	case mean(wrong) > a.MaxWrong:
		return refuse("%.0f %% more of the text is not heard", 100*mean(wrong))
	}
	return nil
}

// middle returns the median of v, which it sorts; 0 for none.
func middle(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func mean(v []float64) (sum float64) {
	for _, x := range v {
		sum += x / float64(len(v))
	}
	return sum
}
