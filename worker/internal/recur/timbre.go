package recur

import "math"

// How timbre is measured: over windows of which neighbours overlap, in bands that are
// as wide as a listener tells them apart.
const (
	hopSeconds    = 0.02
	windowSeconds = 0.032
	bands         = 24
	lowestHz      = 80
	highestHz     = 6000 // what is above differs from one saying to the next
	coefficients  = 12
	// What is so far under the loudest moment is a pause: a natural logarithm of power, 35 dB.
	pauseDepth = 8
	// leastSpread is what the timbre of speech varies by, at least: that of voices by 10 to 14,
	// of a hum by less than 4. A hum says nothing twice.
	leastSpread = 5
	// rounding is the power of what 16 bits leave out, in any band, for a sample of a window.
	rounding = 4
)

// timbre is the cepstrum of a moment without its level, each coefficient by its spread
// in the whole, so that the speaker and the room fall out.
type timbre struct {
	sounds bool // it is no pause
	of     [coefficients]float32
}

// timbres measures mono samples at rate Hz, hop by hop; of what is no speech there are none.
func timbres(samples []int16, rate int) []timbre {
	hop := int(hopSeconds * float64(rate))
	f := newFilters(rate)
	if hop < 1 || len(samples) < f.size {
		return nil
	}
	n := min((len(samples)-f.size)/hop+1, maxHops)
	all, levels, loudest := make([]timbre, n), make([]float64, n), math.Inf(-1)
	for i := 0; i < n; i += 2 { // two windows are transformed at once
		first, second := samples[i*hop:][:f.size], samples[min(i+1, n-1)*hop:][:f.size]
		f.transform(first, second)
		for k := range min(2, n-i) {
			levels[i+k] = f.cepstrum(k == 1, &all[i+k].of)
			loudest = max(loudest, levels[i+k])
		}
	}
	least := max(loudest-pauseDepth, math.Log(bands*f.floor())+1)
	for i, l := range levels {
		all[i].sounds = l > least
	}
	if normalise(all) < leastSpread {
		return nil
	}
	return all
}

// normalise takes the mean of each coefficient away and divides by its spread, of what
// sounds. It returns the spread of all of them, root of the mean square.
func normalise(all []timbre) float64 {
	total := 0.0
	for k := range coefficients {
		n, sum, squares := 0.0, 0.0, 0.0
		for _, t := range all {
			if x := float64(t.of[k]); t.sounds {
				n, sum, squares = n+1, sum+x, squares+x*x
			}
		}
		mean := sum / n
		spread := math.Sqrt(max(squares/n-mean*mean, 1e-9))
		total += spread * spread
		for i := range all {
			all[i].of[k] = float32((float64(all[i].of[k]) - mean) / spread)
		}
	}
	return math.Sqrt(total / coefficients)
}

// filters turn windows of samples at one rate into cepstra.
type filters struct {
	size    int
	window  []float64
	roots   []complex128 // of one, the first half
	shares  [][]share    // by band
	cosines [coefficients][bands]float64
	x       []complex128 // what was transformed last
}

// share is how much of a bin of the spectrum belongs to a band.
type share struct {
	bin int
	of  float64
}

func newFilters(rate int) *filters {
	size := 4
	for float64(size) < windowSeconds*float64(rate) {
		size *= 2
	}
	f := &filters{size: size, window: make([]float64, size), roots: make([]complex128, size/2), shares: make([][]share, bands), x: make([]complex128, size)}
	for i := range f.window {
		f.window[i] = .5 - .5*math.Cos(2*math.Pi*float64(i)/float64(size))
	}
	for i := range f.roots {
		sin, cos := math.Sincos(-2 * math.Pi * float64(i) / float64(size))
		f.roots[i] = complex(cos, sin)
	}
	low, high := mel(lowestHz), mel(min(highestHz, .48*float64(rate)))
	width := (high - low) / (bands + 1)
	for bin := 1; bin < size/2; bin++ {
		at := (mel(float64(bin)*float64(rate)/float64(size)) - low) / width // the middle of the first band is at 1
		for b := range f.shares {
			if of := 1 - math.Abs(at-float64(b+1)); of > 0 {
				f.shares[b] = append(f.shares[b], share{bin, of})
			}
		}
	}
	for k := range f.cosines {
		for b := range f.cosines[k] {
			f.cosines[k][b] = math.Cos(math.Pi * float64(k+1) * (float64(b) + .5) / bands)
		}
	}
	return f
}

// mel is how high a frequency sounds, by the formula of O'Shaughnessy, Speech Communication (1987).
func mel(hz float64) float64 { return 1127 * math.Log(1+hz/700) }

// floor is the power of each band of silence.
func (f *filters) floor() float64 { return rounding * float64(f.size) }

// transform takes the spectra of two windows, as the real and the imaginary part of one.
func (f *filters) transform(first, second []int16) {
	for i, w := range f.window {
		f.x[i] = complex(float64(first[i])*w, float64(second[i])*w)
	}
	fourier(f.x, f.roots)
}

// cepstrum writes the coefficients of the first or the second window into c and returns
// the level, as a natural logarithm of power.
func (f *filters) cepstrum(second bool, c *[coefficients]float32) float64 {
	level, floor := 0.0, f.floor()
	var logs [bands]float64
	for b, shares := range f.shares {
		sum := floor
		for _, s := range shares {
			// A real signal's spectrum is even, an imaginary one's odd: half the sum and half the difference.
			p, q := f.x[s.bin], f.x[f.size-s.bin]
			re, im := real(p)+real(q), imag(p)-imag(q)
			if second {
				re, im = imag(p)+imag(q), real(q)-real(p)
			}
			sum += s.of * (re*re + im*im) / 4
		}
		logs[b] = math.Log(sum)
		level += sum
	}
	for k := range c {
		sum := 0.0
		for b, e := range logs {
			sum += e * f.cosines[k][b]
		}
		c[k] = float32(sum)
	}
	return math.Log(level)
}

// fourier is the discrete Fourier transform of x in place, after Cooley and Tukey (1965): its
// length is a power of two. It is all that is needed of a library for signals.
func fourier(x, roots []complex128) {
	n := len(x)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		if j ^= bit; i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < n; half *= 2 {
		step := n / (2 * half)
		for from := 0; from < n; from += 2 * half {
			for k := range half {
				a, b := x[from+k], x[from+half+k]*roots[k*step]
				x[from+k], x[from+half+k] = a+b, a-b
			}
		}
	}
}
