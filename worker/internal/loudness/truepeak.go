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

// branches has the filter's coefficients by the place between two samples, and
// overshoot the most by which any branch can exceed the samples under it.
var branches, overshoot = designBranches()

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

// truePeak follows one channel. Most passages are far below the peak before
// them: a branch cannot exceed its samples by more than overshoot, so they are
// passed over without being interpolated.
type truePeak struct {
	highest float64 // of full scale 1
	last    [branchTaps - 1]float64
	buf     [branchTaps - 1 + peakChunk]float64
}

const peakChunk = 64

// write takes every step-th sample from the first on.
func (t *truePeak) write(samples []int16, step int) {
	for n := (len(samples) + step - 1) / step; n > 0; {
		chunk := min(n, peakChunk)
		copy(t.buf[:], t.last[:])
		for i := range chunk {
			t.buf[branchTaps-1+i] = float64(samples[i*step]) / fullScale
		}
		t.look(t.buf[:branchTaps-1+chunk])
		copy(t.last[:], t.buf[chunk:])
		samples = samples[min(chunk*step, len(samples)):]
		n -= chunk
	}
}

// end returns the peak with silence after the last sample; t goes on from before.
func (t *truePeak) end() float64 {
	rest := *t
	rest.write(make([]int16, branchTaps), 1)
	return rest.highest
}

func (t *truePeak) look(x []float64) {
	high := 0.0
	for _, v := range x {
		high = max(high, v, -v)
	}
	if high*overshoot <= t.highest {
		return
	}
	t.highest = max(t.highest, high)
	for i := 0; i+branchTaps <= len(x); i++ {
		t.highest = max(t.highest, Between(x[i:i+branchTaps]))
	}
}

// Around is how many samples [Between] looks at.
const Around = 16

// Overshoot returns the most by which what lies between samples can exceed the
// highest of the [Around] samples around it, as a factor.
func Overshoot() float64 { return overshoot }

// Between returns the highest of the three points between the two samples in
// the middle of x, which has [Around] samples, without their sign.
func Between(x []float64) float64 {
	high := 0.0
	x = x[:branchTaps]
	for p := range branches {
		y := 0.0
		for i, c := range &branches[p] {
			y += c * x[i]
		}
		high = max(high, y, -y)
	}
	return high
}
