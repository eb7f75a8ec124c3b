package main

import (
	"fmt"
	"io"
	"strings"
)

// comparison is how the words of two texts differ.
type comparison struct {
	words   int // of the reference
	spoken  int
	matched int // in both, in order
	missing int // in the reference alone
	extra   int // spoken alone
	moved   int // in both, elsewhere

	reference, ours []string
	hunks           []hunk
}

// hunk is a place where the texts differ: words of the reference against words
// of ours.
type hunk struct{ refStart, refEnd, ourStart, ourEnd int }

// inPlace returns the part of the longer text that is in place.
func (c *comparison) inPlace() float64 {
	longer := max(c.words, c.spoken)
	if longer == 0 {
		return 0
	}
	return float64(c.matched) / float64(longer)
}

// compare aligns two lists of words.
func compare(reference, ours []string) *comparison {
	a, b := numbered(reference, ours)
	d := differ{a: a, b: b}
	d.recurse(0, len(a), 0, len(b))
	c := &comparison{words: len(a), spoken: len(b), reference: reference, ours: ours}
	at, bt := 0, 0
	for _, m := range append(d.matches, match{len(a), len(b), 0}) {
		if m.a > at || m.b > bt {
			c.hunks = append(c.hunks, hunk{at, m.a, bt, m.b})
			c.missing += m.a - at
			c.extra += m.b - bt
		}
		c.matched += m.n
		at, bt = m.a+m.n, m.b+m.n
	}
	c.findMoved(a, b)
	return c
}

// numbered replaces equal words by equal numbers.
func numbered(a, b []string) (x, y []int) {
	ids := map[string]int{}
	assign := func(list []string) []int {
		out := make([]int, len(list))
		for i, w := range list {
			id, ok := ids[w]
			if !ok {
				id = len(ids)
				ids[w] = id
			}
			out[i] = id
		}
		return out
	}
	return assign(a), assign(b)
}

// findMoved counts runs of words that are missing here and extra there.
func (c *comparison) findMoved(a, b []int) {
	const shortest = 4 // words that make a run, or a whole hunk of fewer
	type place struct{ hunk, at int }
	index := map[[2]int][]place{}
	used := make([]bool, len(b))
	for i, h := range c.hunks {
		for k := h.ourStart; k+1 < h.ourEnd; k++ {
			key := [2]int{b[k], b[k+1]}
			index[key] = append(index[key], place{i, k})
		}
	}
	for i, h := range c.hunks {
		for k := h.refStart; k+1 < h.refEnd; {
			best, from := 0, 0
			for _, p := range index[[2]int{a[k], a[k+1]}] {
				if p.hunk == i {
					continue
				}
				n := 0
				for k+n < h.refEnd && p.at+n < c.hunks[p.hunk].ourEnd && a[k+n] == b[p.at+n] && !used[p.at+n] {
					n++
				}
				if n > best {
					best, from = n, p.at
				}
			}
			if best < min(shortest, h.refEnd-h.refStart) {
				k++
				continue
			}
			for n := range best {
				used[from+n] = true
			}
			c.moved += best
			k += best
		}
	}
	c.missing -= c.moved
	c.extra -= c.moved
}

// describe prints the hunks with the words around them.
func (c *comparison) describe(out io.Writer, name string) {
	const around, most = 4, 60
	if len(c.hunks) > 0 {
		_, _ = fmt.Fprintf(out, "\n%s\n", name)
	}
	for _, h := range c.hunks {
		before := strings.Join(c.reference[max(0, h.refStart-around):h.refStart], " ")
		after := strings.Join(c.reference[h.refEnd:min(len(c.reference), h.refEnd+around)], " ")
		_, _ = fmt.Fprintf(out, "  … %s [-%s-] [+%s+] %s …\n", before,
			shorten(c.reference[h.refStart:h.refEnd], most), shorten(c.ours[h.ourStart:h.ourEnd], most), after)
	}
}

func shorten(list []string, most int) string {
	if len(list) <= most {
		return strings.Join(list, " ")
	}
	return fmt.Sprintf("%s … (%d words) … %s", strings.Join(list[:most/2], " "), len(list)-most, strings.Join(list[len(list)-most/2:], " "))
}
