package fairsim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/voicemill/voicemill/job"
)

const (
	// Block is how many segments planning sorts by length at once.
	Block = 64
	// Mean is the mean length of a segment in seconds, that of LJSpeech.
	Mean = 6.6
	// spread and surprise are of the logarithms of lengths and of what a
	// prediction is wrong by: coefficients of variation of 0.38 and 0.15.
	spread, surprise = 0.37, 0.15
)

// Segment is one segment on its way.
type Segment struct {
	Job     *Job
	Pred    float64 // seconds of audio
	Audio   float64 // what it becomes
	Arrived float64 // in a worker
	key     int64
	last    bool    // nothing waited behind its bundle
	mark    float64 // progress of its backend at which it ends
	from    float64 // and at which it began
	started float64
	beside  int     // calls that ran beside it at most, its own included
	share   float64 // of its call
}

// Job is one job. Its segments are drawn when they are taken, always the same.
type Job struct {
	ID       job.ID
	Tenant   job.Tenant
	Class    job.Class
	Weight   float64
	Segments int
	Cost     float64 // predicted
	Bias     float64 // what audio is of what is predicted, but for chance; 0 counts as 1
	Arrived  float64

	pool            string
	mean            float64
	lengths, errors *rand.Rand
	sorted          bool // block by block by length, longest first
	drawn           int
	block           []*Segment
	left            float64 // predicted, not taken
	open            int     // segments that have not ended
	audio           float64 // of those that have
	join            bool
	whole           *Job // that a join is of
}

// Source makes jobs.
type Source struct {
	rnd  *rand.Rand
	jobs int
}

// NewSource returns a source that makes the same jobs for the same seed.
func NewSource(seed uint64) *Source { return &Source{rnd: rand.New(rand.NewPCG(seed, 8))} }

// Job returns a job of n segments of a mean length.
func (s *Source) Job(tenant job.Tenant, class job.Class, n int, mean float64) *Job {
	s.jobs++
	j := &Job{ID: job.ID(fmt.Sprintf("job%07d", s.jobs)), Tenant: tenant, Class: class, Segments: n, open: n, mean: mean}
	seed := s.rnd.Uint64()
	lengths := rand.New(rand.NewPCG(seed, 1))
	for range n {
		j.Cost += length(lengths, mean)
	}
	j.left = j.Cost
	j.lengths, j.errors = rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	return j
}

func length(rnd *rand.Rand, mean float64) float64 {
	return min(18, max(0.4, mean*math.Exp(spread*rnd.NormFloat64()-spread*spread/2)))
}

// next returns the next segment, nil behind the last.
func (j *Job) next() *Segment {
	if len(j.block) == 0 {
		j.draw()
	}
	if len(j.block) == 0 {
		return nil
	}
	return j.block[0]
}

// take takes the segment that next returned.
func (j *Job) take() *Segment {
	g := j.block[0]
	j.block = j.block[1:]
	j.left = max(0, j.left-g.Pred)
	return g
}

// waits returns how many segments are not taken.
func (j *Job) waits() int { return len(j.block) + j.Segments - j.drawn }

func (j *Job) draw() {
	n := min(Block, j.Segments-j.drawn)
	j.block = make([]*Segment, n)
	all := make([]Segment, n)
	for i := range j.block {
		g := &all[i]
		if j.join {
			g.Job, g.Pred, g.Audio = j, j.Cost, j.audio
		} else {
			pred := length(j.lengths, j.mean)
			g.Job, g.Pred, g.Audio = j, pred, cmp.Or(j.Bias, 1)*pred*math.Exp(surprise*j.errors.NormFloat64())
		}
		j.block[i] = g
	}
	j.drawn += n
	if j.sorted {
		slices.SortStableFunc(j.block, func(a, b *Segment) int { return cmp.Compare(b.Pred, a.Pred) })
	}
}

// joinCost is what the leader charges for a join, of the audio that it handles.
const joinCost = 0.05

// joins returns the join of a job whose segments have ended.
func (j *Job) joins() *Job {
	cost := j.audio * joinCost
	return &Job{ID: j.ID + ".1", Tenant: j.Tenant, Class: j.Class, Weight: j.Weight, Segments: 1, open: 1, Cost: cost, left: cost, audio: j.audio, join: true}
}
