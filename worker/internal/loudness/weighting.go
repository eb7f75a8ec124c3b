package loudness

import "math"

// weighting is the K-weighting of BS.1770: a shelf for the head, then a high
// pass, each a biquad in direct form 2 transposed.
type weighting struct{ shelf, pass biquad }

type biquad struct {
	b0, b1, b2, a1, a2 float64
	z1, z2             float64
}

func (f *biquad) next(x float64) float64 {
	y := f.b0*x + f.z1
	f.z1 = f.b1*x - f.a1*y + f.z2
	f.z2 = f.b2*x - f.a2*y
	return y
}

func (w *weighting) next(x float64) float64 { return w.pass.next(w.shelf.next(x)) }

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
	return weighting{shelf, biquad{b0: 1, b1: -2, b2: 1, a1: 2 * (k*k - 1) / a0, a2: (1 - k/passQ + k*k) / a0}}
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
