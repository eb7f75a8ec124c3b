package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDifferencesAreCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reference, ours                string
		matched, missing, extra, moved int
	}{
		"equal":                     {"a b c", "a b c", 3, 0, 0, 0},
		"nothing in common":         {"a b", "c d", 0, 2, 2, 0},
		"a word missing":            {"a b c", "a c", 2, 1, 0, 0},
		"a word twice":              {"a b c", "a b b c", 3, 0, 1, 0},
		"a word instead of another": {"a b c", "a x c", 2, 1, 1, 0},
		"a passage moved":           {"n1 n2 n3 n4 n5 a b c d e f g", "a b c d e f g n1 n2 n3 n4 n5", 7, 0, 0, 5},
		"a short passage moved":     {"n1 n2 a b c d e f g", "a b c d e f g n1 n2", 7, 0, 0, 2},
		"words without an anchor":   {"a b a b a b", "b a b a b a", 5, 1, 1, 0},
		"empty against words":       {"", "a b", 0, 0, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := compare(strings.Fields(c.reference), strings.Fields(c.ours))
			require.Equal(t, []int{c.matched, c.missing, c.extra, c.moved}, []int{got.matched, got.missing, got.extra, got.moved})
		})
	}
}

func TestMostWordsAreMatched(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		a, b := rapid.SliceOfN(word, 0, 40).Draw(rt, "a"), rapid.SliceOfN(word, 0, 40).Draw(rt, "b")
		x, y := numbered(a, b)
		d := differ{a: x, b: y}
		if px, py, ok := d.middle(x, y); ok {
			require.True(rt, px >= 0 && px <= len(x) && py >= 0 && py <= len(y))
			require.Equal(rt, longest(x, y), longest(x[:px], y[:py])+longest(x[px:], y[py:]), "the split is on no shortest way")
		}
		c := compare(a, b)
		at, bt, n := 0, 0, 0
		for _, h := range append(c.hunks, hunk{len(a), len(a), len(b), len(b)}) {
			require.Equal(rt, a[at:h.refStart], b[bt:h.ourStart])
			n += h.refStart - at
			at, bt = h.refEnd, h.ourEnd
		}
		require.Equal(rt, n, c.matched)
	})
}

// longest returns the length of the longest common order of a and b.
func longest(a, b []int) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for k, y := range b {
			above := row[k+1]
			if x == y {
				row[k+1] = diagonal + 1
			} else {
				row[k+1] = max(above, row[k])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

func TestLongTextsAreCompared(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	reference := make([]string, 100_000)
	for i := range reference {
		reference[i] = fmt.Sprint("w", rnd.IntN(2500))
	}
	ours := append([]string(nil), reference...)
	ours = append(ours[:50_000], ours[50_050:]...) // fifty missing
	ours[10], ours[75_000] = "x", "y"
	c := compare(reference, ours)
	require.Equal(t, 52, c.missing)
	require.Equal(t, 2, c.extra)
	require.Less(t, c.inPlace(), required+0.001)
	var b strings.Builder
	c.describe(&b, "book")
	require.Equal(t, 3, strings.Count(b.String(), "[-"))
}

func TestWordsIgnoreWhatCannotBeHeard(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"it", "s", "the"}, words("“It’s”  THE"))
	require.Equal(t, []string{"first", "hyphen", "日", "本", "語", "abc"}, words("ﬁrst hy\u00adphen 日本語ＡＢＣ"))
	require.Equal(t, words("Cafe\u0301"), words("CAFÉ"))
}
