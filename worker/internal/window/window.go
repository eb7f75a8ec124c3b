package window

import (
	"math"
	"slices"
	"time"
)

// Config bounds a Window.
type Config struct {
	Most int // texts at once that the server may have, at least 1
}

const (
	// So many texts, and at least as long, are one measurement: at 40 texts of 13 s the
	// goodput of an engine whose pace wanders by 3 % is known to about 2 %.
	leastTexts = 40
	leastTime  = 15 * time.Second
	// An engine that had more or fewer texts at once, by so much, was measured at no point.
	tolerance = 0.15
	// What a doubling of the texts must bring, as a part of the goodput: little when
	// nobody waits for a single text, and a ninth while somebody does.
	priceAll   = 0.02
	priceEased = 0.11
	// A home that is confirmed is left for a neighbour less often, down to every so many
	// measurements.
	rarest = 12
	// A pace that is off by so much is another engine's: nothing is known of its neighbours.
	shift = 0.2
	// A neighbour that makes less by so much is tried in every so many rounds only.
	much   = 0.15
	seldom = 4
	// The mean of so many comparisons is what a point is worth.
	memory = 4
	firstN = 16 // texts at once at first, if the server may have so many
	// An engine that refused for having too many gets no more than the next lower point
	// for so long, and for twice as long each time; from the start again when it has refused
	// nothing for maxBan.
	firstBan = 5 * time.Minute
	maxBan   = time.Hour
)

// points are how many texts at once are tried: two for each doubling.
//
//nolint:gochecknoglobals // a table
var points = []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}

// Mode is what an engine is used for.
type Mode int

// The modes.
const (
	All   Mode = iota // nobody waits for a single text
	Eased             // somebody does
)

// Window is how many texts one server gets at once. It is a value for one owner and
// knows no clock.
type Window struct {
	points []int
	worth  []estimate // of points
	mode   Mode
	home   [2]int // the point of each mode
	trial  int    // the point that is measured

	// What the server has.
	inFlight int
	spent    float64   // seconds that it worked, see Mark
	last     time.Time // of spent

	epoch   uint64 // of trial
	began   time.Time
	sum     sums
	before  float64 // the last measurement at home, a logarithm
	known   bool    // there is one
	away    float64 // that of a neighbour, since
	probe   int     // the neighbour
	probed  bool
	pause   int // measurements at home between neighbours
	left    int // of these
	turn    int // which neighbour is next
	ceiling int // the highest point that it may have

	// Of refusals.
	refused uint64 // the epoch at the last one that counted
	spoke   bool   // what began since was spoken
	banned  time.Time
	bans    int // in a row
}

// estimate is the logarithm of a point's goodput, beside those of the others.
type estimate struct {
	log float64
	n   int // comparisons
}

// sums are those of the texts of one measurement.
type sums struct {
	texts               int
	audio, took, engine float64 // seconds
}

// Mark is the beginning of a call.
type Mark struct {
	at    time.Time
	spent float64
	epoch uint64
}

// New returns a Window for a server that nothing is known of.
func New(cfg Config, now time.Time) *Window {
	w := &Window{last: now, pause: 1, left: 1}
	for _, p := range points {
		if p < cfg.Most {
			w.points = append(w.points, p)
		}
	}
	w.points = append(w.points, max(1, cfg.Most))
	w.worth = make([]estimate, len(w.points))
	w.ceiling = len(w.points) - 1
	first, _ := slices.BinarySearch(w.points, min(firstN, cfg.Most))
	w.home = [2]int{first, w.under(max(1, w.points[first]/2))}
	w.start(first)
	return w
}

// under returns the highest point of at most n texts.
func (w *Window) under(n int) int {
	i, found := slices.BinarySearch(w.points, n)
	if !found {
		i--
	}
	return max(0, i)
}

// Limits returns how many texts the server may have now, and how many of those that
// nobody waits for while somebody waits for others.
func (w *Window) Limits() (all, eased int) {
	at := w.home
	at[w.mode] = w.trial
	all = w.points[min(at[All], w.ceiling)]
	return all, min(w.points[at[Eased]], all)
}

// Ease says what the server is used for from now on.
func (w *Window) Ease(m Mode) {
	if m != w.mode {
		w.mode, w.known, w.probed, w.left = m, false, false, w.pause
		w.start(w.home[m])
	}
}

// Begin notes a call of n texts.
func (w *Window) Begin(now time.Time, n int) Mark {
	w.pass(now)
	w.inFlight += n
	if w.began.IsZero() && w.inFlight >= w.limit() && w.inFlight-n <= w.limit() {
		w.began = now
		w.epoch++
	}
	return Mark{at: now, spent: w.spent, epoch: w.epoch}
}

// limit is that of the mode.
func (w *Window) limit() int {
	return w.points[w.trial]
}

// pass shares the time that passed among the texts that the server had: one that is one
// of n costs it the n-th part of its time.
func (w *Window) pass(now time.Time) {
	if w.inFlight > 0 {
		w.spent += now.Sub(w.last).Seconds() / float64(w.inFlight)
	}
	w.last = now
}

// End notes the end of a call of n texts that brought so many seconds of good audio; 0
// if it failed.
func (w *Window) End(now time.Time, m Mark, n int, audio float64) {
	w.pass(now)
	w.inFlight -= n
	if audio <= 0 {
		return
	}
	w.spoke = w.spoke || m.epoch >= w.refused
	if w.began.IsZero() || m.epoch != w.epoch {
		return
	}
	w.sum.texts += n
	w.sum.audio += audio
	w.sum.took += float64(n) * now.Sub(m.at).Seconds()
	w.sum.engine += float64(n) * (w.spent - m.spent)
	if w.sum.texts >= max(leastTexts, 2*w.limit()) && now.Sub(w.began) >= leastTime {
		w.measured(now)
	}
}

// start begins to measure a point, as soon as the server has so many texts.
func (w *Window) start(point int) {
	w.trial, w.began, w.sum = min(point, w.ceiling), time.Time{}, sums{}
	w.epoch++
}

// measured takes in a measurement and decides what is measured next.
func (w *Window) measured(now time.Time) {
	if now.After(w.banned) {
		w.ceiling = len(w.points) - 1
	}
	beside := w.sum.took / w.sum.engine
	if limit := float64(w.limit()); beside < limit*(1-tolerance) || beside > limit*(1+tolerance) {
		w.start(w.trial)
		return
	}
	log, home := math.Log(w.sum.audio/w.sum.engine), w.home[w.mode]
	if w.trial != home {
		w.away, w.probe, w.probed = log, w.trial, true
		w.start(home)
		return
	}
	if w.probed {
		w.compare(home, w.probe, w.away-(log+w.before)/2)
		w.probed = false
	} else if w.known && math.Abs(log-w.before) > shift {
		w.forget(home, log < w.before)
	}
	w.before, w.known = log, true
	if home != w.home[w.mode] {
		w.known, w.left = false, w.pause
		w.start(w.home[w.mode])
		return
	}
	if w.left--; w.left > 0 {
		w.start(home)
		return
	}
	w.left = w.pause
	w.start(w.neighbour(home))
}

// forget has all points but home tried anew, lower ones first if the pace fell.
func (w *Window) forget(home int, fell bool) {
	for i := range w.worth {
		if i != home {
			w.worth[i] = estimate{}
		}
	}
	w.pause, w.left, w.turn = 1, 1, 0
	if fell {
		w.turn = 1
	}
}

// compare notes that the goodput at probe differs from that at home, and moves.
func (w *Window) compare(home, probe int, by float64) {
	if w.worth[home].n == 0 {
		w.worth[home].n = 1
	}
	e := &w.worth[probe]
	e.n = min(e.n+1, memory)
	e.log += (w.worth[home].log + by - e.log) / float64(e.n)
	before := w.home
	for m, price := range [...]float64{All: priceAll, Eased: priceEased} {
		w.home[m] = w.best(w.home[m], price)
	}
	if w.home[w.mode] == before[w.mode] {
		w.pause = min(2*w.pause, rarest)
	} else {
		w.pause = 1
	}
}

// best returns the point that is worth most.
func (w *Window) best(home int, price float64) int {
	score := func(i int) float64 { return w.worth[i].log - price*math.Log2(float64(w.points[i])) }
	best, known := home, w.worth[home].n > 0
	for i := range w.points {
		if w.worth[i].n > 0 && i <= w.ceiling && (!known || score(i) > score(best)) {
			best, known = i, true
		}
	}
	return best
}

// neighbour returns the next point to try: those at twice and half of home first, for a
// curve may have a dent beside it.
func (w *Window) neighbour(home int) int {
	for range 4 {
		i := home + [...]int{2, -2, 1, -1}[w.turn%4]
		w.turn++
		if i >= 0 && i <= w.ceiling && (!w.poor(i, home) || w.turn/4%seldom == 0) {
			return i
		}
	}
	return home
}

// poor reports whether it is known that a point makes much less than home.
func (w *Window) poor(point, home int) bool {
	return w.worth[point].n > 1 && w.worth[point].log < w.worth[home].log-much
}

// Full notes that a call which has ended, of one text, was refused for being too many.
// A server that has nothing else, or that has spoken nothing of what it got since it last
// refused, refuses whatever it gets: that says nothing of how much is too much.
func (w *Window) Full(now time.Time) {
	n := w.inFlight + 1
	if n == 1 || !w.spoke {
		return
	}
	if now.Sub(w.banned) > maxBan {
		w.bans = 0
	}
	w.ceiling = w.under(n - 1)
	w.banned = now.Add(min(firstBan<<min(w.bans, 8), maxBan))
	w.bans++
	for m := range w.home {
		w.home[m] = min(w.home[m], w.under(n/2))
	}
	if w.worth[w.home[w.mode]].n == 0 { // what the others are worth was beside another home
		clear(w.worth)
	}
	clear(w.worth[w.ceiling+1:])
	w.known, w.probed, w.pause, w.left = false, false, 1, 1
	w.start(w.home[w.mode])
	w.refused, w.spoke = w.epoch, false
}
