package listen

import "strings"

// MaxTokens is how many tokens of each side are aligned. No segment has so many;
// what a recogniser says beyond is extra, and of a longer text the rest is not judged.
const MaxTokens = 1000

// Fault names what is wrong with a stretch. The set is closed; it is a metric label.
type Fault string

// The faults.
const (
	None     Fault = ""
	Missing  Fault = "missing"  // words of the text were not heard
	Extra    Fault = "extra"    // words were heard that the text has not
	Repeated Fault = "repeated" // words of the text were heard more than once
	Other    Fault = "other"    // other words were heard
)

// Says tells the owner of a job what f means.
func (f Fault) Says() string {
	switch f {
	case Missing:
		return "words are missing"
	case Extra:
		return "there are words that the text has not"
	case Repeated:
		return "words are repeated"
	case Other:
		return "other words are heard"
	case None:
	}
	return "nothing was found"
}

// Report is how what was heard differs from the text.
type Report struct {
	Words      int // tokens of the text
	WordErrors int // tokens that are missing, extra or other
	Chars      int // characters of the text's tokens
	CharErrors int
	Worst      Stretch
	misheard   []string // tokens of the text that something else was heard for
	hit        []string // tokens of the text that were heard
}

// WER returns the word error rate, CER the character error rate: 1 and more if
// nothing is right, 0 for a text without words that nothing was heard for.
func (r Report) WER() float64 { return rate(r.WordErrors, r.Words) }

// CER returns the character error rate; see [Report.WER].
func (r Report) CER() float64 { return rate(r.CharErrors, r.Chars) }

func rate(errors, of int) float64 { return float64(errors) / float64(max(1, of)) }

// Stretch is a run of tokens that agree badly. Its weight is in characters: those
// that differ, less twice those that agree among them.
type Stretch struct {
	Fault    Fault
	Weight   int
	From, To int    // tokens of the text
	Said     string // the text's tokens in it, as they were compared
	Heard    string // what was heard in their place
}

// Compare aligns what was heard with the text. Words that pardoned reports, which
// may be nil, count as right if anything like a word is heard in their place.
func Compare(said, heard []Token, pardoned func(string) bool) Report {
	beyond := 0
	if len(heard) > MaxTokens {
		for _, t := range heard[MaxTokens:] {
			beyond += len([]rune(t.Text))
		}
		heard = heard[:MaxTokens]
	}
	said = said[:min(len(said), MaxTokens)]
	s, h := texts(said), texts(heard)
	r := Report{Words: len(said), Chars: length(runes(s))}
	scores := r.score(align(s, h), said, pardoned)
	r.CharErrors += beyond
	r.Worst = worst(scores, s, h)
	r.Worst.Weight += beyond
	if beyond > 0 && r.Worst.Fault == None {
		r.Worst.Fault = Extra
	}
	return r
}

func texts(tokens []Token) []string {
	all := make([]string, len(tokens))
	for i, t := range tokens {
		all[i] = t.Text
	}
	return all
}

// scored is a step of an alignment with what it weighs in a stretch.
type scored struct {
	op
	weight   int
	from, at int // where its tokens begin on both sides
}

func (r *Report) score(ops []op, said []Token, pardoned func(string) bool) []scored {
	all, s := make([]scored, len(ops)), texts(said)
	from, at := 0, 0
	for i, o := range ops {
		all[i] = scored{op: o, weight: weigh(o, said[from:from+o.said], pardoned), from: from, at: at}
		switch {
		case o.matches():
			r.hit = append(r.hit, s[from:from+o.said]...)
		case o.said > 0 && o.heard > 0:
			r.misheard = append(r.misheard, s[from:from+o.said]...)
		}
		if o.cost > 0 {
			r.WordErrors += max(o.said, o.heard)
		}
		r.CharErrors += o.cost
		from, at = from+o.said, at+o.heard
	}
	return all
}

// weigh returns what o adds to a stretch: what agrees ends one.
func weigh(o op, said []Token, pardoned func(string) bool) int {
	if o.matches() {
		return -2 * o.size
	}
	if o.said == 0 || o.heard == 0 {
		return o.size
	}
	for _, t := range said {
		if t.Name { // recognisers spell names as they like
			return 0
		}
		if pardoned != nil && pardoned(t.Text) {
			return 0
		}
	}
	return o.cost
}

// worst finds the run of steps with the largest sum of weights.
func worst(steps []scored, said, heard []string) Stretch {
	sum, begin := 0, 0
	found, from, to := 0, 0, 0
	for i, s := range steps {
		if sum <= 0 {
			sum, begin = 0, i
		}
		if sum += s.weight; sum > found {
			found, from, to = sum, begin, i+1
		}
	}
	if found == 0 {
		return Stretch{}
	}
	run := steps[from:to]
	last := run[len(run)-1]
	s := Stretch{Weight: found, From: run[0].from, To: last.from + last.said}
	h := heard[run[0].at : last.at+last.heard]
	s.Said, s.Heard = strings.Join(said[s.From:s.To], " "), strings.Join(h, " ")
	s.Fault = kind(run, said, h)
	return s
}

// Most of a stretch must be of a kind to be named by it; the rest is chance, since
// some letters of any two words are the same.
const most = 0.6

func kind(run []scored, said, heard []string) Fault {
	var missing, extra, all int
	for _, s := range run {
		if s.weight <= 0 {
			continue
		}
		all += s.weight
		if s.said == 0 {
			extra += s.weight
		}
		if s.heard == 0 {
			missing += s.weight
		}
	}
	switch {
	case float64(missing) >= most*float64(all):
		return Missing
	case float64(extra) < most*float64(all):
		return Other
	case repeats(said, heard):
		return Repeated
	}
	return Extra
}

// repeats reports whether most of what was heard, two tokens or more, is a run of the text.
func repeats(said, heard []string) bool {
	if len(heard) < 2 {
		return false
	}
	longest := 0
	row := make([]int, len(said)+1) // of the common run that ends there
	for _, h := range heard {
		for j := len(said); j > 0; j-- {
			if said[j-1] != h {
				row[j] = 0
				continue
			}
			row[j] = row[j-1] + 1
			longest = max(longest, row[j])
		}
	}
	return longest >= 2 && float64(longest) >= most/2*float64(len(heard))
}
