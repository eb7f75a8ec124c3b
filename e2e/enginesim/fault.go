package enginesim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Fault is a way to fail.
type Fault string

// The faults.
const (
	Hang     Fault = "hang"     // it never answers
	Slow     Fault = "slow"     // it takes five times as long, and a second
	Crash    Fault = "crash"    // the whole engine ends
	Error    Fault = "error"    // 500, INTERNAL
	Busy     Fault = "busy"     // 429 with Retry-After: 1, RESOURCE_EXHAUSTED
	Refuse   Fault = "refuse"   // 400, INVALID_ARGUMENT
	Truncate Fault = "truncate" // the second half is not spoken
	Silence  Fault = "silence"  // nothing is heard
	Garbage  Fault = "garbage"  // bytes that are no sound, samples that are no numbers
	Cut      Fault = "cut"      // the answer ends in the middle
	Count    Fault = "count"    // one answer too many, or none
	Differ   Fault = "differ"   // where it has company it is spoken in another key, and half as long
)

var allFaults = []Fault{Hang, Slow, Crash, Error, Busy, Refuse, Truncate, Silence, Garbage, Cut, Count, Differ}

// Faults says what goes wrong.
type Faults struct {
	Rates    map[Fault]float64 `json:"rates,omitempty"`     // share of texts
	OOMAbove int               `json:"oom_above,omitempty"` // texts at once that memory is enough for; 0: any
	LeakKB   int               `json:"leak_kb,omitempty"`   // memory that a text costs for ever
}

func (f Faults) validate() error {
	sum := 0.0
	for fault, rate := range f.Rates {
		if !slices.Contains(allFaults, fault) || !(rate >= 0) {
			return fmt.Errorf("fault %q at rate %g; want one of %v, and a share", fault, rate, allFaults)
		}
		sum += rate
	}
	if sum > 1 || f.OOMAbove < 0 || f.LeakKB < 0 {
		return fmt.Errorf("rates of %g together, out of memory above %d, a leak of %d KB; want a share, and nothing negative", sum, f.OOMAbove, f.LeakKB)
	}
	return nil
}

// mark is what a text asks for a fault with.
const mark = "sim:"

// pick returns the fault of a text, or nothing.
func (f Faults) pick(text string, chance *rand.Rand) Fault {
	for word := range strings.FieldsSeq(text) {
		name, ok := strings.CutPrefix(word, mark)
		name = strings.TrimRight(name, ".,;:!?")
		if ok && slices.Contains(allFaults, Fault(name)) {
			return Fault(name)
		}
	}
	x := chance.Float64()
	for _, fault := range allFaults { // in order, so that a seed repeats itself
		if x -= f.Rates[fault]; x < 0 {
			return fault
		}
	}
	return ""
}
