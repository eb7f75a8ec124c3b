package loudness

import "math"

// weighting is the K-weighting of BS.1770: a shelf for the head, then a high
// pass, each a biquad. The zeros of the high pass come first: they are the second
// difference of the samples, which are integers. What is left of both is three
// stages that wait for nothing but the sample before.
type weighting struct {
	shelf, pass biquad
	x1, x2      int32   // the last samples
	v1, v2      float64 // their second differences
	u1, u2      float64 // these under the shelf, of gain 1/b0
	y1, y2      float64 // and under the high pass's poles
}

// biquad has the coefficients of one filter.
type biquad struct{ b0, b1, b2, a1, a2 float64 }

// passage is what is added up over samples of one channel.
type passage struct {
	weighted  float64 // energy under the weighting, see [weighting.scale]
	power     int64   // squares of the samples themselves
	low, high int16
	bend      int32 // the most that a sample leaves the line through the two before it
}

// peak returns the highest sample, without its sign.
func (p passage) peak() int32 { return max(int32(p.high), -int32(p.low)) }

// scale is by what the energy of a passage has to be multiplied for a full scale of 1.
func (w *weighting) scale() float64 { return w.shelf.b0 / fullScale * w.shelf.b0 / fullScale }

// weigh adds up every step-th sample from the first on; the weighted energy goes on
// from sum, so that it does not matter how a sound is cut.
func (w *weighting) weigh(samples []int16, step int, sum float64) passage {
	c1, c2, a1, a2 := w.shelf.b1/w.shelf.b0, w.shelf.b2/w.shelf.b0, w.shelf.a1, w.shelf.a2
	p1, p2 := w.pass.a1, w.pass.a2 // the high pass's b are 1, -2 and 1
	x1, x2, v1, v2, u1, u2, y1, y2 := w.x1, w.x2, w.v1, w.v2, w.u1, w.u2, w.y1, w.y2
	var power int64
	var low, high, up, down int32
	for i := 0; i < len(samples); i += step {
		x := int32(samples[i])
		low, high = min(low, x), max(high, x)
		power += int64(x * x)
		bend := x - 2*x1 + x2
		up, down = max(up, bend), min(down, bend)
		v := float64(bend)
		u := (v + c1*v1 + c2*v2 - a2*u2) - a1*u1
		y := (u - p2*y2) - p1*y1
		sum += y * y
		x1, x2, v1, v2, u1, u2, y1, y2 = x, x1, v, v1, u, u1, y, y1
	}
	w.x1, w.x2, w.v1, w.v2 = x1, x2, v1, v2
	w.u1, w.u2 = settled(u1, u2)
	w.y1, w.y2 = settled(y1, y2)
	return passage{weighted: sum, power: power, low: int16(low), high: int16(high), bend: max(up, -down)} //nolint:gosec // both are samples
}

// settled returns the last two values of a stage, or nothing if they are next to nothing:
// in digital silence they would fall for ever, down to numbers with which a processor
// takes a hundred times as long. A sample is 1.
func settled(last, before float64) (float64, float64) {
	const nothing = 1e-30
	if max(last, -last, before, -before) < nothing {
		return 0, 0
	}
	return last, before
}

// newWeighting returns the filters at any rate. BS.1770 prints coefficients for
// 48 kHz only; these are the analogue prototypes behind them (frequency, Q and
// gain solved from the printed numbers) under the bilinear transform, which
// gives those numbers at 48 kHz (tested).
func newWeighting(rate int) weighting {
	const (
		shelfHz, shelfQ, shelfDB = 1681.974450955533, .7071752369554196, 3.999843853973347
		shelfSlope               = .4996667741545416
		passHz, passQ            = 38.13547087602444, .5003270373238773
	)
	k := math.Tan(math.Pi * shelfHz / float64(rate))
	high := math.Pow(10, shelfDB/20)
	mid := math.Pow(high, shelfSlope)
	a0 := 1 + k/shelfQ + k*k
	shelf := biquad{
		b0: (high + mid*k/shelfQ + k*k) / a0, b1: 2 * (k*k - high) / a0, b2: (high - mid*k/shelfQ + k*k) / a0,
		a1: 2 * (k*k - 1) / a0, a2: (1 - k/shelfQ + k*k) / a0,
	}
	k = math.Tan(math.Pi * passHz / float64(rate))
	a0 = 1 + k/passQ + k*k
	return weighting{shelf: shelf, pass: biquad{b0: 1, b1: -2, b2: 1, a1: 2 * (k*k - 1) / a0, a2: (1 - k/passQ + k*k) / a0}}
}

// loudness returns the loudness in LUFS of a weighted mean square, summed over
// the channels.
func loudness(power float64) float64 {
	if power <= 0 {
		return Floor
	}
	return -0.691 + 10*math.Log10(power)
}

// The gates of BS.1770-4.
const (
	absoluteGate = -70.0 // LUFS
	relativeGate = -10.0 // LU from the mean of what passed the absolute gate
)

const (
	binsALU = 20
	binLUs  = 80 // from the absolute gate on; what is louder is in the last bin
)

// gate keeps the blocks that pass the absolute gate in a histogram, so that the
// relative gate can be applied at any time and memory does not grow. A bin has
// the exact energy of its blocks: only those within a twentieth of a LU of the
// relative gate can be on its wrong side.
type gate struct {
	count [binsALU * binLUs]int64
	power [binsALU * binLUs]float64
}

func (g *gate) add(power float64) {
	l := loudness(power)
	if l < absoluteGate {
		return
	}
	i := min(int((l-absoluteGate)*binsALU), len(g.count)-1)
	g.count[i]++
	g.power[i] += power
}

// mean returns the mean energy of the blocks that pass both gates; ok is false
// if none does.
func (g *gate) mean() (power float64, ok bool) {
	all, n := g.above(0)
	if n == 0 {
		return 0, false
	}
	threshold := loudness(all/float64(n)) + relativeGate
	from := int(math.Round((threshold - absoluteGate) * binsALU))
	some, n := g.above(max(0, from))
	return some / float64(n), true
}

func (g *gate) above(bin int) (power float64, n int64) {
	for i := bin; i < len(g.count); i++ {
		power += g.power[i]
		n += g.count[i]
	}
	return power, n
}
