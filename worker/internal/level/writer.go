package level

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/voicemill/voicemill/worker/internal/loudness"
)

// Writer applies gains to 16-bit little-endian mono samples and holds peaks under
// a ceiling, those between samples included. Samples come out late, when those
// after them are known, but none is added or lost: [Writer.Close] gives the last.
// It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	gain    float64 // factor of what is written now
	ceiling float64 // of full scale 1
	limit   limiter
	odd     []byte // half a sample
	in, out int64  // samples
	buf     []byte
}

const flushBytes = 32 << 10

// NewWriter returns a writer at rate Hz with no gain and a ceiling in dBTP.
func NewWriter(w io.Writer, rate int, ceiling float64) *Writer {
	c := math.Pow(10, ceiling/20)
	return &Writer{w: w, gain: 1, ceiling: c, limit: newLimiter(rate, c), buf: make([]byte, 0, flushBytes)}
}

// Gain has what is written from now on made louder by db.
func (w *Writer) Gain(db float64) { w.gain = math.Pow(10, db/20) }

// Write takes samples; b may end within one.
func (w *Writer) Write(b []byte) (n int, err error) {
	n = len(b)
	if len(w.odd) > 0 && len(b) > 0 {
		w.odd = append(w.odd, b[0])
		b = b[1:]
		if err := w.push(int16(binary.LittleEndian.Uint16(w.odd))); err != nil { //nolint:gosec // two's complement
			return 0, err
		}
		w.odd = w.odd[:0]
	}
	for ; len(b) >= 2; b = b[2:] {
		if err := w.push(int16(binary.LittleEndian.Uint16(b))); err != nil { //nolint:gosec // likewise
			return 0, err
		}
	}
	w.odd = append(w.odd, b...)
	return n, nil
}

func (w *Writer) push(s int16) error {
	w.in++
	return w.step(float64(s) / fullScale * w.gain)
}

func (w *Writer) step(x float64) error {
	y := w.limit.next(x)
	if w.limit.steps <= w.limit.delay {
		return nil // what was before the first sample
	}
	v := int16(min(max(math.RoundToEven(y*fullScale), math.MinInt16), math.MaxInt16))
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(v)) //nolint:gosec // likewise
	w.out++
	if len(w.buf) < flushBytes {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

var errHalf = errors.New("the samples end within one")

// Close writes what is still held. It does not close what it writes to.
func (w *Writer) Close() error {
	if len(w.odd) > 0 {
		return errHalf
	}
	for w.out < w.in {
		if err := w.step(0); err != nil {
			return err
		}
	}
	return w.flush()
}

const fullScale = -math.MinInt16

// limiter reduces the gain ahead of what would exceed its ceiling, smoothly, and
// lets it come back slowly. Gains are integers, so that running sums stay exact.
type limiter struct {
	ceiling float64
	delay   int64 // samples from a sample to its output
	steps   int64
	release int // the gain comes back by a 2^release-th of what is missing, a sample

	history []float64 // the samples that are still to come out, a ring
	taps    []float64 // the last samples twice in a row, so that any window of them lies in one piece
	suspect float64   // a sample over this may have a point over the ceiling near it
	hot     int       // for how many samples one that is suspect is within the taps
	env     int64     // the gain that comes back
	lowest  lowest    // of env over the window and the two samples around
	recent  []int64   // the last lows, a ring
	sum     int64     // of recent

	tap, head, oldest int // places in taps, history and recent
}

const (
	one        = int64(1) << 30 // gain 1
	lookAhead  = .005           // seconds
	comeBack   = .06            // seconds, about
	half       = loudness.Around / 2
	extraSteps = 2 // a point between two samples concerns both
)

func newLimiter(rate int, ceiling float64) limiter {
	window := max(8, int(lookAhead*float64(rate)))
	l := limiter{
		ceiling: ceiling, delay: int64(window + half), release: int(math.Round(math.Log2(comeBack * float64(rate)))),
		history: make([]float64, window+half+1), taps: make([]float64, 2*loudness.Around), env: one,
		suspect: ceiling / loudness.Overshoot(), lowest: newLowest(window + extraSteps), recent: make([]int64, window), sum: one * int64(window),
	}
	for i := range l.recent {
		l.recent[i] = one
	}
	return l
}

// next takes a sample and returns the one of delay samples before, reduced.
func (l *limiter) next(x float64) float64 {
	l.taps[l.tap], l.taps[l.tap+loudness.Around] = x, x
	l.tap = (l.tap + 1) % loudness.Around
	l.history[l.head] = x
	l.head = wrap(l.head+1, len(l.history))
	l.steps++
	if x > l.suspect || -x > l.suspect {
		l.hot = loudness.Around
	}

	l.env += (one - l.env) >> l.release
	if l.hot > 0 {
		l.hot--
		l.env = min(l.env, l.allowed(l.taps[l.tap:l.tap+loudness.Around]))
	}
	low := l.lowest.next(l.env)
	l.sum += low - l.recent[l.oldest]
	l.recent[l.oldest] = low
	l.oldest = wrap(l.oldest+1, len(l.recent))
	return l.history[l.head] * (float64(l.sum) / float64(len(l.recent)) / float64(one))
}

func wrap(i, n int) int {
	if i == n {
		return 0
	}
	return i
}

// allowed returns the highest gain with which the middle of x stays under the ceiling.
func (l *limiter) allowed(x []float64) int64 {
	peak := max(math.Abs(x[half-1]), math.Abs(x[half]), loudness.Between(x))
	if peak <= l.ceiling {
		return one
	}
	return int64(l.ceiling / peak * float64(one))
}

// lowest is the minimum of the last values, each step in constant time on
// average: values that can never be the minimum any more are dropped.
type lowest struct {
	ring  []rise // values that rise; as long as the window
	first int    // in ring
	n     int
	step  int64
}

// rise is a value and the step of it.
type rise struct{ value, step int64 }

func newLowest(window int) lowest { return lowest{ring: make([]rise, window)} }

func (l *lowest) next(v int64) int64 {
	if l.n > 0 && l.ring[l.first].step <= l.step-int64(len(l.ring)) {
		l.first = wrap(l.first+1, len(l.ring))
		l.n--
	}
	for l.n > 0 && l.ring[l.place(l.n-1)].value >= v {
		l.n--
	}
	l.ring[l.place(l.n)] = rise{v, l.step}
	l.n++
	l.step++
	return l.ring[l.first].value
}

// place returns where in the ring the i-th value is.
func (l *lowest) place(i int) int {
	if i += l.first; i >= len(l.ring) {
		return i - len(l.ring)
	}
	return i
}
