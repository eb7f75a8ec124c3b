package listen

// op is one step of an alignment: so many tokens of the text and of what was heard
// that belong together. One that has none on a side is missing or extra.
type op struct {
	said, heard int // tokens, 0 to 2
	cost        int // characters that differ
	size        int // characters of the longer side
}

// matches reports whether the two sides of o sound the same, as far as spelling tells.
func (o op) matches() bool { return o.said > 0 && o.heard > 0 && 3*o.cost <= o.size }

// align returns the cheapest steps from said to heard, counted in characters. Words
// that the one side writes as two the other may write as one. It takes time and
// memory by the product of the lengths.
func align(said, heard []string) []op {
	s, h := runes(said), runes(heard)
	columns := len(h) + 1
	cells := make([]cell, (len(s)+1)*columns)
	var d distance
	for i := range len(s) + 1 {
		for j := range columns {
			if i+j > 0 {
				cells[i*columns+j] = best(cells, columns, i, j, s, h, &d)
			}
		}
	}
	var ops []op
	for i, j := len(s), len(h); i+j > 0; {
		c := cells[i*columns+j]
		ops = append(ops, c.op)
		i, j = i-c.op.said, j-c.op.heard
	}
	for i, j := 0, len(ops)-1; i < j; i, j = i+1, j-1 {
		ops[i], ops[j] = ops[j], ops[i]
	}
	return ops
}

type cell struct {
	total int
	op    op
}

// steps are the ways to go on, the preferred one first.
var steps = [...]struct{ said, heard int }{{1, 1}, {1, 0}, {0, 1}, {1, 2}, {2, 1}}

func best(cells []cell, columns, i, j int, s, h [][]rune, d *distance) cell {
	found := cell{total: -1}
	for _, step := range steps {
		if step.said > i || step.heard > j {
			continue
		}
		base := cells[(i-step.said)*columns+j-step.heard].total
		if found.total >= 0 && base >= found.total {
			continue
		}
		o := op{said: step.said, heard: step.heard}
		a, b := s[i-step.said:i], h[j-step.heard:j]
		o.size = max(length(a), length(b))
		o.cost = o.size
		if step.said > 0 && step.heard > 0 {
			o.cost = d.between(a, b)
		}
		if total := base + o.cost; found.total < 0 || total < found.total {
			found = cell{total, o}
		}
	}
	return found
}

func runes(words []string) [][]rune {
	all := make([][]rune, len(words))
	for i, w := range words {
		all[i] = []rune(w)
	}
	return all
}

func length(words [][]rune) (n int) {
	for _, w := range words {
		n += len(w)
	}
	return n
}

// distance counts the characters to change between words, written as one.
type distance struct {
	a, b []rune
	row  []int
}

func (d *distance) between(a, b [][]rune) int {
	d.a, d.b = join(d.a[:0], a), join(d.b[:0], b)
	d.row = d.row[:0]
	for j := range len(d.b) + 1 {
		d.row = append(d.row, j)
	}
	for i, x := range d.a {
		diagonal := d.row[0]
		d.row[0] = i + 1
		for j, y := range d.b {
			change := diagonal
			if x != y {
				change++
			}
			diagonal = d.row[j+1]
			d.row[j+1] = min(change, diagonal+1, d.row[j]+1)
		}
	}
	return d.row[len(d.b)]
}

func join(to []rune, words [][]rune) []rune {
	for _, w := range words {
		to = append(to, w...)
	}
	return to
}
