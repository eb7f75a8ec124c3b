package batch_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/batch"
)

// model is how long a static engine takes for a batch of n texts: a + e·n + b·max +
// c·sum + d·n·max seconds, of the seconds of sound in it.
type model struct{ a, b, c, d, e float64 }

// Fitted to the official table of CosyVoice3 on an L20: language model in batches, sound
// one after another; and the same with the sound in padded batches.
var (
	stock  = model{a: .03, b: .073, c: .034, e: .018}
	padded = model{a: .03, b: .073, d: .034, e: .018}
)

// takes also returns how many seconds of sound the batch would be if all of it were as
// long as its longest.
func (m model) takes(call []*text) (seconds, boxed float64) {
	top, sum, n := 0.0, 0.0, float64(len(call))
	for _, x := range call {
		top, sum = max(top, x.audio), sum+x.audio
	}
	return m.a + m.e*n + m.b*top + m.c*sum + m.d*n*top, n * top
}

// text is one segment.
type text struct {
	pred, audio float64 // seconds
	arrives     float64
	since       float64 // it has waited here
}

// characters are percentiles of the sentences of a book of prose, a public-domain
// anthology of children's literature (IDPF's epub3-samples): 2,863 sentences, mean 101
// characters, coefficient of variation .82; the longest are cut at the 30 s that the
// engine can speak.
var characters = [...]float64{
	3, 3, 3, 3, 5, 12, 17, 19, 21, 23, 24, 26, 28, 29, 31, 32, 34, 35, 36, 38, 39, 41, 42, 44, 45,
	46, 47, 49, 50, 51, 52, 54, 55, 56, 58, 59, 60, 62, 64, 65, 67, 68, 69, 71, 72, 74, 76, 78, 79, 80,
	82, 84, 85, 87, 88, 90, 93, 95, 97, 99, 101, 104, 106, 108, 110, 112, 114, 116, 119, 121, 124, 127, 130, 132, 134,
	136, 139, 143, 146, 149, 151, 155, 160, 164, 168, 174, 179, 185, 190, 198, 203, 211, 221, 230, 244, 259, 279, 309, 357, 452,
}

const (
	tiny      = 1e-9 // seconds: less than what sums of them are off by
	perSecond = 15.2 // characters
	longest   = 452  // characters, of what an engine speaks in 30 s
	noise     = .15  // of the logarithm of what a prediction is wrong by
	most      = 16   // texts of a batch
	books     = 8    // that are spoken at the same time
	sentences = 500  // of each
)

// A novel's sentences have 92 characters on average, with a coefficient of variation of
// .88 and 375 at the 99th percentile (Pride and Prejudice): about log-normal.
const (
	novelMean  = 92
	novelSigma = .757 // of the logarithm
)

// sentence returns a length in characters.
type sentence func(rnd *rand.Rand) float64

func novel(rnd *rand.Rand) float64 {
	return novelMean * math.Exp(novelSigma*rnd.NormFloat64()-novelSigma*novelSigma/2)
}

func anthology(rnd *rand.Rand) float64 {
	at := rnd.Float64() * float64(len(characters)-1)
	low := int(at)
	return characters[low] + (at-float64(low))*(characters[low+1]-characters[low])
}

// library returns books, the same for a seed. A sentence is as likely as any other to
// follow another.
func library(of sentence, seed uint64) [][]*text {
	rnd := rand.New(rand.NewPCG(seed, 16))
	all := make([][]*text, books)
	for i := range all {
		for range sentences {
			pred := .2 + min(longest, of(rnd))/perSecond
			all[i] = append(all[i], &text{pred: pred, audio: min(30, pred*math.Exp(noise*rnd.NormFloat64()))})
		}
	}
	return all
}

// asRead lets the books out by turns, a sentence each, in the order of reading.
func asRead(all [][]*text) (feed []*text) {
	for i := range sentences {
		for _, b := range all {
			feed = append(feed, b[i])
		}
	}
	return feed
}

// What the scheduler does, see docs/queue.md: blocks of 64 are sorted by length, and
// whoever had least gets a bundle of a second of the pool's work, of 16 at most.
const (
	block      = 64
	bundleWork = 20. // seconds of sound
)

func asReleased(all [][]*text) (feed []*text) {
	left, had := make([][]*text, len(all)), make([]float64, len(all))
	for i, b := range all {
		b = slices.Clone(b)
		for from := 0; from < len(b); from += block {
			slices.SortStableFunc(b[from:min(from+block, len(b))], func(x, y *text) int { return cmp.Compare(y.pred, x.pred) })
		}
		left[i] = b
	}
	for {
		next := -1
		for i := range left {
			if len(left[i]) > 0 && (next < 0 || had[i] < had[next]) {
				next = i
			}
		}
		if next < 0 {
			return feed
		}
		cost, n, rest := 0.0, 0, (len(left[next])-1)%block+1 // of this block
		for n < min(most, rest) && (n == 0 || cost+left[next][n].pred <= bundleWork) {
			cost += left[next][n].pred
			n++
		}
		feed, left[next], had[next] = append(feed, left[next][:n]...), left[next][n:], had[next]+cost
	}
}

// rule forms batches of what waits, oldest first. Either it takes some, or it says how
// long to wait if nothing happens; 0 is until something does.
type rule struct {
	name  string
	ahead int // batches that it sends beside the one that is spoken
	takes func(now float64, waiting []*text, st state) (take []int, wait float64)
}

// state is what a rule may know beside that.
type state struct {
	sent    int     // batches that the engine has
	running float64 // predicted seconds of them
	ends    bool    // nothing more comes
}

func oldest(n int) (take []int) {
	for i := range n {
		take = append(take, i)
	}
	return take
}

// fifo sends what is there.
func fifo(_ float64, waiting []*text, _ state) ([]int, float64) {
	return oldest(min(most, len(waiting))), 0
}

// triton is NVIDIA Triton's dynamic batcher: the preferred size if it is reached, all
// that fits when the oldest has waited for the delay.
func triton(preferred int, delay float64) func(float64, []*text, state) ([]int, float64) {
	return func(now float64, waiting []*text, _ state) ([]int, float64) {
		age := now - waiting[0].since
		switch {
		case preferred > 0 && len(waiting) >= preferred && age < delay:
			return oldest(min(most, len(waiting)/preferred*preferred)), 0
		case len(waiting) >= most, age >= delay:
			return oldest(min(most, len(waiting))), 0
		}
		return nil, delay - age + tiny
	}
}

// ray is @serve.batch of Ray Serve: it waits for company from when it takes the first
// text off its queue.
func ray(wait float64) func(float64, []*text, state) ([]int, float64) {
	taken := math.Inf(1) // when the first was
	return func(now float64, waiting []*text, _ state) ([]int, float64) {
		taken = min(taken, now)
		if len(waiting) < most && now-taken < wait {
			return nil, taken + wait - now + tiny
		}
		taken = math.Inf(1)
		return oldest(min(most, len(waiting))), 0
	}
}

// ours is package batch, as package consume calls it.
func ours(now float64, waiting []*text, st state) ([]int, float64) {
	lim := batch.Limits{Items: most, Seconds: 240, Wait: 50 * time.Millisecond}
	items := make([]batch.Item, len(waiting))
	for i, x := range waiting {
		items[i] = batch.Item{Class: job.Bulk, Seconds: x.pred, Since: moment(x.since)}
	}
	d := batch.Decide(items, moment(now), batch.State{
		Free: 2 - st.sent, Idle: st.sent == 0, Ends: st.ends, Calls: 2, Running: st.running,
	}, lim)
	return d.Take, d.Wait.Seconds()
}

func moment(seconds float64) time.Time {
	return time.Unix(1, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// inHand is how many segments a worker takes of such an engine: two calls' worth that
// run and four that wait.
const inHand = 6 * most

// outcome is what a rule made of a trace.
type outcome struct {
	audio   float64   // seconds of sound
	padding float64   // of these, in seconds of the boxes that they were in
	goodput float64   // seconds of sound in each that the engine worked
	elapsed float64   // until the last was spoken
	waited  []float64 // of each text, from when it came until it was spoken
}

// run sends a feed through a rule to an engine that has one batch at a time.
func run(r rule, m model, feed []*text) (o outcome) {
	var waiting []*text
	var sent [][]*text // the first is spoken until ends
	var now, ends, audio, boxed, busy float64
	next := 0
	for next < len(feed) || len(waiting)+len(sent) > 0 {
		for next < len(feed) && feed[next].arrives <= now && len(waiting)+size(sent) < inHand {
			x := *feed[next]
			x.since, waiting, next = now, append(waiting, &x), next+1
		}
		again := math.Inf(1)
		if len(waiting) > 0 && len(sent) <= r.ahead {
			take, wait := r.takes(now, waiting, state{len(sent), predicted(sent), next == len(feed)})
			if len(take) > 0 {
				var call []*text
				if call, waiting = pick(waiting, take); len(sent) == 0 {
					ends = now + begin(m, call, &audio, &boxed, &busy)
				}
				sent = append(sent, call)
				continue
			}
			if wait > 0 {
				again = now + wait
			}
		}
		if next < len(feed) && len(waiting)+size(sent) < inHand {
			again = min(again, feed[next].arrives)
		}
		if len(sent) == 0 || again < ends {
			now = again
			continue
		}
		now = ends
		for _, x := range sent[0] {
			o.waited = append(o.waited, now-x.arrives)
		}
		if sent = sent[1:]; len(sent) > 0 {
			ends = now + begin(m, sent[0], &audio, &boxed, &busy)
		}
	}
	o.audio, o.padding, o.goodput, o.elapsed = audio, audio/boxed, audio/busy, now
	return o
}

func begin(m model, call []*text, audio, boxed, busy *float64) float64 {
	seconds, box := m.takes(call)
	for _, x := range call {
		*audio += x.audio
	}
	*boxed += box
	*busy += seconds
	return seconds
}

func size(sent [][]*text) (n int) {
	for _, call := range sent {
		n += len(call)
	}
	return n
}

func predicted(sent [][]*text) (sum float64) {
	for _, call := range sent {
		for _, x := range call {
			sum += x.pred
		}
	}
	return sum
}

func pick(waiting []*text, take []int) (call, rest []*text) {
	taken := map[int]bool{}
	for _, i := range take {
		call, taken[i] = append(call, waiting[i]), true
	}
	for i, x := range waiting {
		if !taken[i] {
			rest = append(rest, x)
		}
	}
	return call, rest
}
