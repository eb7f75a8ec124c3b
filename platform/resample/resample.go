package resample

import (
	"fmt"
	"math"
)

// Limits of [New].
const (
	MinRate = 4000
	MaxRate = 384000

	// maxPhases limits the table: 22050 to 24000 has 160 phases, 44100 to 48000
	// as well, and rates without a common factor have thousands.
	maxPhases = 4096
)

const (
	halfTaps   = 24   // samples that the filter reaches to each side, at the lower of the two rates
	kaiserBeta = 8.0  // stop band about 80 dB down
	passBand   = 0.94 // of the lower Nyquist frequency; the transition ends just above it
)

// Resampler converts between two fixed rates. It is immutable and safe for
// concurrent use.
type Resampler struct {
	up, down int
	taps     int       // per phase; the filter reaches taps/2 samples to each side
	phases   []float32 // up rows of taps
}

// New returns a Resampler from one rate to another, in Hz.
func New(from, to int) (*Resampler, error) {
	for _, rate := range []int{from, to} {
		if rate < MinRate || rate > MaxRate {
			return nil, fmt.Errorf("sample rate %d Hz; want %d to %d", rate, MinRate, MaxRate)
		}
	}
	divisor := gcd(from, to)
	r := &Resampler{up: to / divisor, down: from / divisor}
	if r.up > maxPhases {
		return nil, fmt.Errorf("resample %d to %d Hz: the ratio %d/%d needs more than %d filter phases", from, to, r.up, r.down, maxPhases)
	}
	r.design()
	return r, nil
}

// Len returns how many samples n input samples become: n·to/from, rounded up.
func (r *Resampler) Len(n int) int {
	return int((int64(n)*int64(r.up) + int64(r.down) - 1) / int64(r.down))
}

// Resample appends the converted src to dst and returns it. It adds exactly
// Len(len(src)) samples.
func (r *Resampler) Resample(dst, src []int16) []int16 {
	if r.up == r.down {
		return append(dst, src...)
	}
	n := r.Len(len(src))
	at := len(dst)
	dst = append(dst, make([]int16, n)...)
	out := dst[at:]

	// Silence on both sides of the input saves a test for each tap.
	padded := make([]float32, len(src)+2*r.taps)
	for i, s := range src {
		padded[r.taps+i] = float32(s)
	}
	// Output i is at input time i·down/up: sample (i·down)/up, phase (i·down)%up.
	sample, phase := 0, 0
	for i := range out {
		start := r.taps + sample - r.taps/2 + 1
		out[i] = clip(dot(r.phases[phase*r.taps:(phase+1)*r.taps], padded[start:start+r.taps]))
		phase += r.down
		sample += phase / r.up
		phase %= r.up
	}
	return dst
}

// dot returns the dot product of two slices of one length, a multiple of eight.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32 // four chains, so that additions overlap
	for len(a) >= 8 && len(b) >= 8 {
		x, y := (*[8]float32)(a), (*[8]float32)(b) // one bounds check for eight products
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		s0 += x[4] * y[4]
		s1 += x[5] * y[5]
		s2 += x[6] * y[6]
		s3 += x[7] * y[7]
		a, b = a[8:], b[8:]
	}
	return (s0 + s1) + (s2 + s3)
}

func clip(x float32) int16 {
	switch {
	case x >= math.MaxInt16:
		return math.MaxInt16
	case x <= math.MinInt16:
		return math.MinInt16
	}
	return int16(math.RoundToEven(float64(x)))
}

// design fills the phases. Row p is the filter for an output that lies p/up of a
// sample after input sample s; its tap k meets input s - taps/2 + 1 + k.
func (r *Resampler) design() {
	cutoff := passBand * min(1, float64(r.up)/float64(r.down)) // of the input's Nyquist frequency
	half := int(math.Ceil(halfTaps / min(1, float64(r.up)/float64(r.down))))
	half = (half + 3) / 4 * 4 // so that taps is a multiple of eight
	r.taps = 2 * half
	r.phases = make([]float32, r.up*r.taps)
	row := make([]float64, r.taps)
	for p := range r.up {
		sum := 0.0
		for k := range row {
			x := float64(half-1-k) + float64(p)/float64(r.up) // from this input sample to the output, in samples
			row[k] = sinc(cutoff*x) * kaiser(x/float64(half))
			sum += row[k]
		}
		for k, v := range row {
			r.phases[p*r.taps+k] = float32(v / sum) // each phase passes a constant unchanged
		}
	}
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window at x, which runs from -1 to 1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel(kaiserBeta*math.Sqrt(1-x*x)) / bessel(kaiserBeta)
}

// bessel is the modified Bessel function of the first kind and order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-17; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
