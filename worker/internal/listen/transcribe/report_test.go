package transcribe_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/voicemill/voicemill/worker/internal/listen"
)

// past is what is known of a voice.
type past struct {
	listen.History
	limits listen.Limits
	pace   float64
}

// learn returns what the clean trials of the text called first teach of a voice: as with a
// worker, those that are condemned teach nothing.
func learn(all []trial, voice, first string) *past {
	p := &past{limits: listen.DefaultLimits()}
	for _, t := range all {
		if t.voice != voice || t.book != first || t.fault != clean {
			continue
		}
		if j := p.judge(t); j.verdict.Fault == listen.None {
			p.Add(j.Evidence)
			p.limits, p.pace = p.Limits(listen.DefaultLimits()), p.Pace()
		}
	}
	return p
}

// evidence holds what was heard against the text.
func (t trial) evidence(pardoned func(string) bool) listen.Evidence {
	e := t.heard.evidence(t.text, pardoned)
	e.Predicted = t.predicted
	return e
}

// judged is a trial with what is made of it.
type judged struct {
	trial
	listen.Evidence
	verdict  listen.Verdict
	severity float64 // the most times its limits that it would be condemned under
}

// loosest are the times that limits are tried under.
var loosest = []float64{.5, .6, .7, .8, .9, 1, 1.1, 1.25, 1.5, 2, 3}

func (p *past) judge(t trial) judged {
	e := t.evidence(p.Pardoned)
	j := judged{trial: t, Evidence: e, verdict: p.limits.Judge(e, p.pace)}
	for _, k := range loosest {
		l := p.limits
		l.Weight, l.CER, l.Unheard, l.Pace, l.Twice = int(k*float64(l.Weight)+.5), k*l.CER, k*l.Unheard, k*l.Pace, k*l.Twice
		if l.Judge(e, p.pace).Fault != listen.None {
			j.severity = k
		}
	}
	return j
}

// share is a proportion with its interval of 95 % after Wilson.
type share struct{ n, of int }

func (s share) String() string {
	if s.of == 0 {
		return "-"
	}
	const z = 1.96
	p, n := float64(s.n)/float64(s.of), float64(s.of)
	middle, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	by := 1 + z*z/n
	return fmt.Sprintf("%d/%d = %.1f %% (%.1f to %.1f)", s.n, s.of, 100*p, 100*max(0, (middle-half)/by), 100*min(1, (middle+half)/by))
}

func count(all []judged, of, found func(judged) bool) (s share) {
	for _, j := range all {
		if of(j) {
			s.of++
			if found(j) {
				s.n++
			}
		}
	}
	return s
}

// report prints what the limits that the text called first sets find in all.
func report(b *testing.B, all []trial, first string) {
	b.Helper()
	var verdicts []judged
	voices, books := map[string]*past{}, []string{}
	for _, t := range all {
		if voices[t.voice] == nil {
			p := learn(all, t.voice, first)
			voices[t.voice] = p
			fmt.Printf("\n%s after %s: %+v, pace %.3f", t.voice, first, p.limits, p.pace)
		}
		if !slices.Contains(books, t.book) {
			books = append(books, t.book)
		}
		verdicts = append(verdicts, voices[t.voice].judge(t))
	}
	fmt.Println()
	condemned := func(j judged) bool { return j.verdict.Fault != listen.None }
	table := func(title string, in func(judged) bool) {
		words, errors := 0, 0
		for _, j := range verdicts {
			if in(j) && j.fault == clean {
				words, errors = words+j.Words, errors+j.WordErrors
			}
		}
		fmt.Printf("\n%s: word error rate %.3f (%d of %d)\n", title, float64(errors)/math.Max(1, float64(words)), errors, words)
		for _, fault := range append([]string{clean}, planted...) {
			fmt.Printf("  %-18s %s\n", fault, count(verdicts, func(j judged) bool { return in(j) && j.fault == fault }, condemned))
		}
	}
	for _, v := range slices.Sorted(maps.Keys(voices)) {
		for _, book := range books {
			table(v+", "+book, func(j judged) bool { return j.voice == v && j.book == book })
		}
	}
	rest := func(j judged) bool { return j.book != first || len(books) == 1 }
	table("all but "+first, rest)
	roc(verdicts, rest)
	mistakes(verdicts)
}

// roc prints what would be condemned under limits that are stricter or looser.
func roc(all []judged, in func(judged) bool) {
	fmt.Print("\ntimes the limits, condemned of clean and of each fault, per cent\n")
	for _, k := range loosest {
		fmt.Printf("  %4.2f", k)
		for _, fault := range append([]string{clean}, planted...) {
			s := count(all, func(j judged) bool { return in(j) && j.fault == fault }, func(j judged) bool { return j.severity >= k })
			fmt.Printf("  %5.1f", 100*float64(s.n)/math.Max(1, float64(s.of)))
		}
		fmt.Println()
	}
}

// mistakes prints the clean ones that were condemned and the faults that were not.
func mistakes(all []judged) {
	for _, j := range all {
		if (j.fault == clean) == (j.verdict.Fault == listen.None) {
			continue
		}
		fmt.Printf("\n%s, %s, %s: %q, %s\n  text:  %s\n  heard: %s\n", j.fault, j.voice, j.book, j.verdict.Fault, j.verdict.Why, j.text, j.heard.text())
		fmt.Printf("  weight %d %q for %q, character errors %d of %d, unheard %.2f s, twice %.2f s, %.2f s of %.2f\n",
			j.Worst.Weight, j.Worst.Heard, j.Worst.Said, j.CharErrors, j.Chars, j.Unheard, j.Twice, j.Seconds, j.Predicted)
	}
}
