package main

import (
	"fmt"
	"io"
	"slices"
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

// match is n equal words at a and b.
type match struct{ a, b, n int }

// differ finds the longest common order of two lists: it anchors at the words
// that occur once in both, and between anchors searches in linear space.
type differ struct {
	a, b    []int
	matches []match // in order, adjoining ones joined
}

func (d *differ) emit(a, b, n int) {
	if n == 0 {
		return
	}
	if k := len(d.matches) - 1; k >= 0 && d.matches[k].a+d.matches[k].n == a && d.matches[k].b+d.matches[k].n == b {
		d.matches[k].n += n
		return
	}
	d.matches = append(d.matches, match{a, b, n})
}

// recurse matches a[a0:a1] with b[b0:b1].
func (d *differ) recurse(a0, a1, b0, b1 int) {
	head := 0
	for a0+head < a1 && b0+head < b1 && d.a[a0+head] == d.b[b0+head] {
		head++
	}
	d.emit(a0, b0, head)
	a0, b0 = a0+head, b0+head
	tail := 0
	for a1-tail > a0 && b1-tail > b0 && d.a[a1-tail-1] == d.b[b1-tail-1] {
		tail++
	}
	a1, b1 = a1-tail, b1-tail
	if a0 < a1 && b0 < b1 {
		if anchors := d.anchors(a0, a1, b0, b1); len(anchors) > 0 {
			for _, m := range anchors {
				d.recurse(a0, m.a, b0, m.b)
				d.emit(m.a, m.b, 1)
				a0, b0 = m.a+1, m.b+1
			}
			d.recurse(a0, a1, b0, b1)
		} else {
			d.middle(a0, a1, b0, b1)
		}
	}
	d.emit(a1, b1, tail)
}

// anchors returns the longest order of the words that occur once on each side.
func (d *differ) anchors(a0, a1, b0, b1 int) []match {
	type seen struct{ a, b, at, bt int }
	count := map[int]*seen{}
	for i := a0; i < a1; i++ {
		s := count[d.a[i]]
		if s == nil {
			s = &seen{}
			count[d.a[i]] = s
		}
		s.a, s.at = s.a+1, i
	}
	for i := b0; i < b1; i++ {
		if s := count[d.b[i]]; s != nil {
			s.b, s.bt = s.b+1, i
		}
	}
	var pairs []match
	for i := a0; i < a1; i++ {
		if s := count[d.a[i]]; s.a == 1 && s.b == 1 {
			pairs = append(pairs, match{s.at, s.bt, 1})
		}
	}
	return increasing(pairs)
}

// increasing returns the longest part of pairs, which rise in a, that rises in b.
func increasing(pairs []match) []match {
	var tails []int // index of the smallest end of a run of each length
	before := make([]int, len(pairs))
	for i, p := range pairs {
		k, _ := slices.BinarySearchFunc(tails, p.b, func(t, b int) int { return pairs[t].b - b })
		before[i] = -1
		if k > 0 {
			before[i] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, i)
		} else {
			tails[k] = i
		}
	}
	if len(tails) == 0 {
		return nil
	}
	var run []match
	for i := tails[len(tails)-1]; i >= 0; i = before[i] {
		run = append(run, pairs[i])
	}
	slices.Reverse(run)
	return run
}

// middle matches two lists without anchors. They are short in any real book;
// beyond the limit they count as different.
func (d *differ) middle(a0, a1, b0, b1 int) {
	const most = 16 << 20 // cells of the table
	n, m := a1-a0, b1-b0
	if n*m > most {
		return
	}
	table := make([]int32, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for k := m - 1; k >= 0; k-- {
			if d.a[a0+i] == d.b[b0+k] {
				table[i*(m+1)+k] = table[(i+1)*(m+1)+k+1] + 1
			} else {
				table[i*(m+1)+k] = max(table[(i+1)*(m+1)+k], table[i*(m+1)+k+1])
			}
		}
	}
	for i, k := 0, 0; i < n && k < m; {
		switch {
		case d.a[a0+i] == d.b[b0+k]:
			d.emit(a0+i, b0+k, 1)
			i, k = i+1, k+1
		case table[(i+1)*(m+1)+k] >= table[i*(m+1)+k+1]:
			i++
		default:
			k++
		}
	}
}
