package loudness

import "math"

// Floor is the lowest level that is told, in dB: digital silence has it.
const Floor = -120.0

// Silence is the level, in dB RMS over [Figures.Lead]'s windows, up to which
// a passage counts as silent. It is the noise floor that audiobook shops allow.
const Silence = -60.0

const (
	windowsASecond = 10 // steps of 100 ms: BS.1770 has blocks of 400 ms, each 75 % over the one before
	blockWindows   = 4
	floorWindows   = 5   // the noise floor is that of the quietest half second
	edgesASecond   = 100 // both ends are looked at in windows of 10 ms
)

// Figures is what a [Meter] measured. Levels are in dB of full scale, [Floor]
// at least; lengths are in samples of a channel.
type Figures struct {
	// LUFS is the integrated loudness with both gates of BS.1770-4. Sound of
	// which no block passes, such as that under 400 ms, has its ungated loudness.
	LUFS float64
	// TruePeak is the highest level between samples, four times oversampled
	// (dBTP); Peak the highest sample.
	TruePeak, Peak float64
	// RMS is over all samples, silence included; a sine of full scale has -3.01.
	RMS float64
	// NoiseFloor is the RMS of the quietest half second, in steps of 100 ms;
	// that of the whole for what is shorter.
	NoiseFloor float64
	// Lead and Tail are how much is silent ([Silence], in windows of 10 ms) before
	// the first and after the last sound. All of it is Lead if there is no sound.
	Lead, Tail int64
	// Samples is the length.
	Samples int64
}

// Meter measures interleaved 16-bit samples. It is not safe for concurrent use.
type Meter struct {
	rate, channels int
	filters        []weighting // one a channel
	peaks          []truePeak  // one a channel
	gate           gate

	samples int64
	peak    int32
	power   int64 // sum of the squares of all samples

	window, edge span    // running: 100 ms and 10 ms
	weighted     float64 // K-weighted energy of the running window, to be scaled
	loud         float64 // K-weighted energy of everything
	quiets       ring    // unweighted energies of the last windows
	loudest      ring    // weighted energies of the last windows
	quietest     float64 // energy of the quietest half second; negative: none yet

	firstSound, lastSound int64 // samples before the first sound, and up to the last one's end; -1: none
}

// span gathers the energy of a window of fixed length.
type span struct {
	length, n int
	power     int64 // sum of squares
}

// mean returns the mean square of s, of full scale 1.
func (s span) mean(channels int) float64 { return meanSquare(s.power, int64(s.n*channels)) }

func meanSquare(power, n int64) float64 {
	return float64(power) / (fullScale * fullScale) / float64(n)
}

// ring holds the energies of the last few windows.
type ring struct {
	at   [floorWindows]float64
	seen int
}

func (r *ring) push(x float64) { r.at[r.seen%len(r.at)] = x; r.seen++ }

// sum returns the sum of the last n, oldest last, so that it is the same for
// the same energies wherever they are in the sound.
func (r *ring) sum(n int) float64 {
	s := 0.0
	for i := range n {
		s += r.at[(r.seen-1-i)%len(r.at)]
	}
	return s
}

// NewMeter returns a meter for channels (1 or 2) at rate Hz, 8000 at least.
func NewMeter(rate, channels int) *Meter {
	m := &Meter{
		rate: rate, channels: channels, filters: make([]weighting, channels), peaks: make([]truePeak, channels),
		window: span{length: rate / windowsASecond}, edge: span{length: rate / edgesASecond},
		quietest: -1, firstSound: -1, lastSound: -1,
	}
	for i := range m.filters {
		m.filters[i] = newWeighting(rate)
	}
	return m
}

// Of measures mono samples at rate Hz.
func Of(samples []int16, rate int) Figures {
	m := NewMeter(rate, 1)
	m.Write(samples)
	return m.Figures()
}

// Write measures samples, those of the channels alternating; their number must
// be a multiple of the channels.
func (m *Meter) Write(samples []int16) {
	for len(samples) >= m.channels {
		n := min(m.edge.length-m.edge.n, m.window.length-m.window.n, len(samples)/m.channels)
		part := samples[:n*m.channels]
		samples = samples[n*m.channels:]
		for c := range m.channels {
			p := m.filters[c].weigh(part[c:], m.channels, m.weighted)
			m.add(p)
			m.peaks[c].write(part[c:], m.channels, p.peak(), p.bend)
		}
		m.samples += int64(n)
		if m.edge.n += n; m.edge.n == m.edge.length {
			m.endEdge()
		}
		if m.window.n += n; m.window.n == m.window.length {
			m.endWindow()
		}
	}
}

// add adds a passage of one channel to the running windows, all of which it is within.
func (m *Meter) add(p passage) {
	m.peak = max(m.peak, p.peak())
	m.window.power += p.power
	m.edge.power += p.power
	m.weighted = p.weighted
}

func (m *Meter) endEdge() {
	if m.sounds() {
		if m.firstSound < 0 {
			m.firstSound = m.samples - int64(m.edge.n)
		}
		m.lastSound = m.samples
	}
	m.edge.n, m.edge.power = 0, 0
}

// sounds reports whether the running window of the ends is over [Silence].
func (m *Meter) sounds() bool {
	return m.edge.n > 0 && decibels(m.edge.mean(m.channels)) > Silence
}

func (m *Meter) endWindow() {
	m.power += m.window.power
	energy := m.weighted * m.filters[0].scale()
	m.loud += energy
	m.quiets.push(float64(m.window.power) / (fullScale * fullScale))
	m.loudest.push(energy)
	if m.loudest.seen >= blockWindows {
		m.gate.add(m.loudest.sum(blockWindows) / float64(blockWindows*m.window.length))
	}
	if m.quiets.seen >= floorWindows {
		if e := m.quiets.sum(floorWindows) / float64(floorWindows*m.window.length*m.channels); m.quietest < 0 || e < m.quietest {
			m.quietest = e
		}
	}
	m.window.n, m.window.power, m.weighted = 0, 0, 0
}

// Figures returns what was measured so far; more may be written after it.
func (m *Meter) Figures() Figures {
	f := Figures{LUFS: Floor, TruePeak: Floor, Peak: Floor, RMS: Floor, NoiseFloor: Floor, Lead: m.samples, Samples: m.samples}
	if m.samples == 0 {
		return f
	}
	f.RMS = decibels(meanSquare(m.power+m.window.power, m.samples*int64(m.channels)))
	f.NoiseFloor = f.RMS
	if m.quietest >= 0 {
		f.NoiseFloor = decibels(m.quietest)
	}
	f.Peak = 2 * decibels(float64(m.peak)/fullScale)
	highest := float64(m.peak) / fullScale
	for i := range m.peaks {
		highest = max(highest, m.peaks[i].end())
	}
	f.TruePeak = max(Floor, 2*decibels(highest))
	f.Peak = max(Floor, f.Peak)
	mean, ok := m.gate.mean()
	if !ok {
		mean = (m.loud + m.weighted*m.filters[0].scale()) / float64(m.samples)
	}
	f.LUFS = max(Floor, loudness(mean))
	first, last := m.firstSound, m.lastSound
	if m.sounds() {
		if first < 0 {
			first = m.samples - int64(m.edge.n)
		}
		last = m.samples
	}
	if first >= 0 {
		f.Lead, f.Tail = first, m.samples-last
	}
	return f
}

const fullScale = -math.MinInt16

// decibels returns the level of a mean square of full scale 1.
func decibels(power float64) float64 {
	if power <= 0 {
		return Floor
	}
	return max(Floor, 10*math.Log10(power))
}
