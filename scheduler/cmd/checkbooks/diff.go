package main

import "slices"

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
			if x, y, ok := d.middle(d.a[a0:a1], d.b[b0:b1]); ok {
				d.recurse(a0, a0+x, b0, b0+y)
				d.recurse(a0+x, a1, b0+y, b1)
			}
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

// middle returns a point that a shortest way from a to b passes, searching from
// both ends at once in linear space (Myers, 1986). Lists that differ by more
// than the limit count as wholly different: ok is false.
func (d *differ) middle(a, b []int) (x, y int, ok bool) {
	const (
		most = 40_000   // edits: beyond it the texts are not the same book
		dead = -1 << 30 // reach of a diagonal that has left the lists
	)
	n, m := len(a), len(b)
	limit := min((n+m+1)/2, most)
	at := limit + 1 // index of diagonal 0
	ahead, back := make([]int, 2*limit+3), make([]int, 2*limit+3)
	for i := range ahead {
		ahead[i], back[i] = dead, dead
	}
	ahead[at+1], back[at+1] = 0, 0
	delta := n - m
	odd := delta%2 != 0
	for steps := range limit + 1 {
		for k := -steps; k <= steps; k += 2 {
			x := advance(ahead, at+k, k == -steps, k == steps)
			y := x - k
			if x < 0 || x > n || y > m {
				ahead[at+k] = dead
				continue
			}
			for x < n && y < m && a[x] == b[y] {
				x, y = x+1, y+1
			}
			ahead[at+k] = x
			if other := at + delta - k; odd && other >= 0 && other < len(back) && x+back[other] >= n {
				return inside(x, y, n, m)
			}
		}
		for k := -steps; k <= steps; k += 2 {
			x := advance(back, at+k, k == -steps, k == steps)
			y := x - k
			if x < 0 || x > n || y > m {
				back[at+k] = dead
				continue
			}
			for x < n && y < m && a[n-1-x] == b[m-1-y] {
				x, y = x+1, y+1
			}
			back[at+k] = x
			if other := at + delta - k; !odd && other >= 0 && other < len(ahead) && x+ahead[other] >= n {
				return inside(n-x, m-y, n, m)
			}
		}
	}
	return 0, 0, false
}

// advance returns how far the next step reaches on the diagonal at index i.
func advance(reach []int, i int, first, last bool) int {
	if first || !last && reach[i-1] < reach[i+1] {
		return reach[i+1]
	}
	return reach[i-1] + 1
}

// inside returns the point, unless it is a corner and so divides nothing.
func inside(x, y, n, m int) (int, int, bool) {
	return x, y, (x > 0 || y > 0) && (x < n || y < m)
}
