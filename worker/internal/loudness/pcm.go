package loudness

import "encoding/binary"

// PCM measures what is written to it: 16-bit samples, little-endian, however they
// are cut. It never fails.
type PCM struct {
	meter   *Meter
	half    []byte // of a sample that is not whole yet
	samples []int16
}

// NewPCM returns a writer for mono samples at rate Hz, 8000 at least.
func NewPCM(rate int) *PCM { return &PCM{meter: NewMeter(rate, 1)} }

// Write implements io.Writer.
func (p *PCM) Write(b []byte) (int, error) {
	n := len(b)
	p.samples = p.samples[:0]
	if len(p.half) > 0 && n > 0 {
		p.samples, p.half, b = append(p.samples, sample(p.half[0], b[0])), p.half[:0], b[1:]
	}
	for ; len(b) > 1; b = b[2:] {
		p.samples = append(p.samples, sample(b[0], b[1]))
	}
	p.half = append(p.half, b...)
	p.meter.Write(p.samples)
	return n, nil
}

func sample(low, high byte) int16 { return int16(binary.LittleEndian.Uint16([]byte{low, high})) } //nolint:gosec // two's complement

// Figures returns what was measured so far.
func (p *PCM) Figures() Figures { return p.meter.Figures() }
