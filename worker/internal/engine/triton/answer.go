package triton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/voicemill/voicemill/api/kserve"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// errNoAnswer is why an answer that came whole is none.
var errNoAnswer = engine.ErrNoAnswer

var (
	errShape   = fmt.Errorf("%w: its tensors do not fit", errNoAnswer)
	errNumbers = fmt.Errorf("%w: it holds samples that are no numbers", errNoAnswer)
	errEmpty   = fmt.Errorf("%w: it has no samples", errNoAnswer)
	errTooLong = fmt.Errorf("%w: it is longer than the model can speak", errNoAnswer)
	errLimit   = fmt.Errorf("%w: the model was stopped at its limit", errNoAnswer)
)

// limitSlack is how much shorter than its tokens speech at the limit may be: the
// vocoder trims a few frames.
const limitSlack = 0.1

// output returns the raw bytes and the shape of one output of r; ok is false if it has
// none of that name. Samples that came as numbers are made raw.
func output(r *kserve.ModelInferResponse, name, datatype string) (raw []byte, shape []int64, ok bool, err error) {
	for i, o := range r.GetOutputs() {
		if o.GetName() != name {
			continue
		}
		if o.GetDatatype() != datatype {
			return nil, nil, true, fmt.Errorf("%s is %.20q: %w", name, o.GetDatatype(), errShape)
		}
		if all := r.GetRawOutputContents(); len(all) > 0 {
			if i >= len(all) {
				return nil, nil, true, fmt.Errorf("%s has no contents: %w", name, errShape)
			}
			raw = all[i]
		} else {
			for _, x := range o.GetContents().GetFp32Contents() {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
			}
			for _, n := range o.GetContents().GetIntContents() {
				raw = binary.LittleEndian.AppendUint32(raw, uint32(n)) //nolint:gosec // the same bits
			}
		}
		if n, ok := product(o.GetShape()); !ok || n*4 != int64(len(raw)) {
			return nil, nil, true, fmt.Errorf("%s has %d bytes for the shape %v: %w", name, len(raw), o.GetShape(), errShape)
		}
		return raw, o.GetShape(), true, nil
	}
	return nil, nil, false, nil
}

// product is how many elements a shape has; ok is false if it is no shape of anything
// that may come here.
func product(shape []int64) (n int64, ok bool) {
	const most = 1 << 32
	n = 1
	for _, d := range shape {
		if d < 0 || d > most || n*d > most {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// one appends the samples of an answer to one text. An answer without the output
// appends nothing.
func one(samples []int16, r *kserve.ModelInferResponse, most int) ([]int16, error) {
	raw, shape, ok, err := output(r, waveform, "FP32")
	if err != nil || !ok {
		return samples, err
	}
	for _, d := range shape[:max(0, len(shape)-1)] {
		if d != 1 {
			return nil, fmt.Errorf("%s has the shape %v for one text: %w", waveform, shape, errShape)
		}
	}
	if len(samples)+len(raw)/4 > most {
		return nil, fmt.Errorf("more than %d samples: %w", most, errTooLong)
	}
	return pcm(samples, raw)
}

// several returns the samples of each of n texts.
func several(r *kserve.ModelInferResponse, n, most int) ([][]int16, error) {
	raw, shape, ok, err := output(r, waveform, "FP32")
	if err != nil || !ok || len(shape) != 2 || shape[0] != int64(n) {
		return nil, errors.Join(err, fmt.Errorf("%s has the shape %v for %d texts: %w", waveform, shape, n, errShape))
	}
	sizes, _, ok, err := output(r, waveformSize, "INT32")
	if err != nil || !ok || len(sizes) != 4*n {
		return nil, errors.Join(err, fmt.Errorf("%s has %d bytes for %d texts: %w", waveformSize, len(sizes), n, errShape))
	}
	all := make([][]int16, n)
	row := len(raw) / n
	for i := range all {
		size := int64(int32(binary.LittleEndian.Uint32(sizes[4*i:]))) //nolint:gosec // the same bits
		if size < 0 || size*4 > int64(row) {
			return nil, fmt.Errorf("row %d has %d samples of %d: %w", i, size, row/4, errShape)
		}
		if size > int64(most) {
			return nil, fmt.Errorf("more than %d samples: %w", most, errTooLong)
		}
		if all[i], err = pcm(nil, raw[i*row:i*row+4*int(size)]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pcm appends samples from -1 to 1 as 16 bits.
func pcm(dst []int16, raw []byte) ([]int16, error) {
	at := len(dst)
	dst = append(dst, make([]int16, len(raw)/4)...)
	for i := range len(raw) / 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		if x != x || x > math.MaxFloat32 || x < -math.MaxFloat32 {
			return nil, fmt.Errorf("sample %d is %g: %w", at+i, x, errNumbers)
		}
		x = min(max(x, -1), 1) * math.MaxInt16
		if x < 0 {
			dst[at+i] = int16(x - 0.5)
		} else {
			dst[at+i] = int16(x + 0.5)
		}
	}
	return dst, nil
}

// whole reports why samples are not all that was to be said: there are none, or as
// many as the model ever makes.
func (c Config) whole(samples []int16) error {
	if len(samples) == 0 {
		return errEmpty
	}
	if seconds := float64(len(samples)) / float64(c.BackendRate); seconds > c.limitSeconds()-limitSlack {
		return fmt.Errorf("%.2f s where %d tokens are %.2f s: %w", seconds, c.MaxTokens, c.limitSeconds(), errLimit)
	}
	return nil
}
