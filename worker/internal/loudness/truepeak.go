package loudness

import "math"

// True peak after annex 2 of BS.1770-4: the signal at four times its rate. The
// interpolating filter is a sinc under a Kaiser window, a branch for each of
// the three points between two samples.
const (
	oversampling = 4
	branchTaps   = Around
	kaiserBeta   = 5.0
)

// branches has the filter's coefficients by the place between two samples.
// Overshoot is the most by which any branch can exceed the samples under it, and
// bulge the most by which it can leave the line between the two samples beside it,
// in parts of the largest second difference among those under it.
var (
	branches, overshoot = designBranches()
	bulge               = bulgeOf(branches)
)

func designBranches() (b [oversampling - 1][branchTaps]float64, most float64) {
	for p := range b {
		sum, size := 0.0, 0.0
		for i := range b[p] {
			x := float64(i) - branchTaps/2 + 1 - float64(p+1)/oversampling
			b[p][i] = sinc(x) * kaiser(x/(branchTaps/2))
			sum += b[p][i]
		}
		for i := range b[p] {
			b[p][i] /= sum // a constant stays what it is
			size += math.Abs(b[p][i])
		}
		most = max(most, size)
	}
	return b, most
}

// bulgeOf adds up by how much each second difference moves the point of a branch.
// A sample is what the line through the two in the middle says of it, and of the
// second difference at each place from there to it the times that it is away from
// that; the branch keeps the line, since its coefficients have the sum 1.
func bulgeOf(branches [oversampling - 1][branchTaps]float64) (most float64) {
	const left, right = branchTaps/2 - 1, branchTaps / 2
	for _, b := range branches {
		sum := 0.0
		for j := 1; j < branchTaps-1; j++ {
			moved := 0.0
			for k := range b {
				if j >= right && k > j || j <= left && k < j {
					moved += b[k] * math.Abs(float64(k-j))
				}
			}
			sum += math.Abs(moved)
		}
		most = max(most, sum)
	}
	return most
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the window at x from -1 to 1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel(kaiserBeta*math.Sqrt(1-x*x)) / bessel(kaiserBeta)
}

// bessel is the modified Bessel function of the first kind and order zero, by
// its power series.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1; k < 40; k++ {
		term *= (x / 2 / float64(k)) * (x / 2 / float64(k))
		sum += term
	}
	return sum
}

// truePeak follows one channel. Hardly any point has to be looked at: none can be
// higher than the samples under it by more than overshoot, and none than the two
// beside it by more than the samples around bend. Most passages are far below the peak
// before them, and of those that are not only the crests count.
type truePeak struct {
	highest float64                           // of full scale 1
	buf     [branchTaps - 1 + peakChunk]int16 // the samples before, then those of a chunk
	before  int32                             // the highest of the samples before
}

const peakChunk = 256

// write takes every step-th sample from the first on, of which peak is the highest, and
// bent the most that one leaves the line through the two before it.
func (t *truePeak) write(samples []int16, step int, peak, bent int32) {
	t.highest = max(t.highest, float64(peak)/fullScale)
	limit, hot := t.limit(max(peak, t.before), bent)
	n := (len(samples) + step - 1) / step
	if !hot && n >= branchTaps { // only what the next samples need
		samples, n = samples[(n-branchTaps+1)*step:], branchTaps-1
	}
	for n > 0 {
		chunk := min(n, peakChunk)
		if step == 1 {
			copy(t.buf[branchTaps-1:], samples[:chunk])
		} else {
			for i := range chunk {
				t.buf[branchTaps-1+i] = samples[i*step]
			}
		}
		if hot {
			t.look(t.buf[:branchTaps-1+chunk], limit)
		}
		copy(t.buf[:branchTaps-1], t.buf[chunk:])
		samples = samples[min(chunk*step, len(samples)):]
		n -= chunk
	}
	t.before = 0
	for _, s := range t.buf[:branchTaps-1] {
		t.before = max(t.before, abs(s))
	}
}

// limit returns from which sample on a point beside it may be the highest so far; hot is
// false if samples of at most so much, which bend by at most so much, have none.
func (t *truePeak) limit(most, bent int32) (limit int32, hot bool) {
	if float64(most)*overshoot <= t.highest*fullScale {
		return 0, false
	}
	away := bulge*float64(max(bent, bend(t.buf[:branchTaps-1]))) + 1 // 1 is more than what is rounded
	limit = int32(t.highest*fullScale - away)
	return limit, most >= limit
}

// end returns the peak with silence after the last sample; t goes on from before.
func (t *truePeak) end() float64 {
	rest := *t
	var silence [2 * branchTaps]int16
	copy(silence[:], t.buf[:branchTaps-1])
	rest.write(silence[branchTaps-1:], 1, 0, bend(silence[:]))
	return rest.highest
}

// look looks at the points between samples that may be the highest, which one of the
// two beside each tells that is not under limit.
func (t *truePeak) look(samples []int16, limit int32) {
	const left, right = branchTaps/2 - 1, branchTaps / 2
	var x [branchTaps]float64
	l := abs(samples[left])
	for i := 0; i+branchTaps <= len(samples); i++ {
		r := abs(samples[i+right])
		if max(l, r) >= limit {
			for k, s := range samples[i : i+branchTaps] {
				x[k] = float64(s) / fullScale
			}
			if found := Between(x[:]); found > t.highest {
				limit += int32((found - t.highest) * fullScale)
				t.highest = found
			}
		}
		l = r
	}
}

// bend returns the largest second difference of samples, without its sign.
func bend(samples []int16) (most int32) {
	if len(samples) < 3 {
		return 0
	}
	before, slope := int32(samples[1]), int32(samples[1])-int32(samples[0])
	for _, s := range samples[2:] {
		next := int32(s) - before
		most = max(most, next-slope, slope-next)
		before, slope = int32(s), next
	}
	return most
}

func abs(s int16) int32 { return max(int32(s), -int32(s)) }

// Around is how many samples [Between] looks at.
const Around = 16

// Overshoot returns the most by which what lies between samples can exceed the
// highest of the [Around] samples around it, as a factor.
func Overshoot() float64 { return overshoot }

// Between returns the highest of the three points between the two samples in
// the middle of x, which has [Around] samples, without their sign. The point in the
// middle depends on sums of samples as far to its left as to its right alone; of the
// two beside it one is the other's mirror image, so that sums and differences do
// for both.
func Between(x []float64) float64 {
	x = x[:branchTaps]
	var middle, even, odd float64
	for k := range branchTaps / 2 {
		l, r := x[branchTaps/2-1-k], x[branchTaps/2+k]
		sum, diff := l+r, l-r
		middle += folded[k].middle * sum
		even += folded[k].even * sum
		odd += folded[k].odd * diff
	}
	return max(math.Abs(middle), math.Abs(even)+math.Abs(odd))
}

// folded has the coefficients for the samples that are k steps away from the middle.
var folded = fold()

func fold() (f [branchTaps / 2]struct{ middle, even, odd float64 }) {
	for k := range f {
		l, r := branches[0][branchTaps/2-1-k], branches[0][branchTaps/2+k]
		f[k].middle, f[k].even, f[k].odd = branches[1][branchTaps/2+k], (l+r)/2, (l-r)/2
	}
	return f
}
