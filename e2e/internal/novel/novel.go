package novel

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode"
)

const chapterWords = 2000

var (
	who = []string{
		"the miller", "her youngest brother", "a clerk from the harbour", "the woman with the lantern", "nobody in the village", "old Martha",
		"the second mate", "a boy of about ten", "the schoolmaster", "every gardener in the valley", "the judge's sister", "a stranger in a grey coat",
	}
	did = []string{
		"carried", "had forgotten", "would not sell", "was looking for", "counted", "asked twice about", "hid", "repaired", "wrote to the paper about",
		"laughed at", "had always wanted", "dreamed of", "described", "paid for",
	}
	what = []string{
		"the last sack of flour", "a letter without a name", "seventeen brass buttons", "the bridge over the weir", "an umbrella", "the bell of the chapel",
		"a map of the northern islands", "two loaves of bread", "the wheel that had stopped in March", "a story about a fox", "the key to the granary", "some very small boots",
	}
	where = []string{
		"before the tide turned", "behind the smithy", "on the road to the market", "in the winter of the long frost", "while the kettle sang", "at the end of the pier",
		"when the snow was gone", "under the chestnut trees", "as if it were Sunday", "between two trains", "without a word", "in spite of the rain",
	}
	join = []string{", and ", "; ", ", but ", ", because ", ", although ", ", so that "}
)

// Book returns a Markdown book of at least so many words in chapters of about 2,000,
// and how many it has.
func Book(words int) (markdown string, made int) {
	r := rand.New(rand.NewPCG(1, uint64(max(words, 0)))) //nolint:gosec // a text, not a secret
	var b strings.Builder
	for chapter := 1; made < words; chapter++ {
		fmt.Fprintf(&b, "# Chapter %d\n\n", chapter)
		for end := min(made+chapterWords, words); made < end; {
			text := paragraph(r)
			made += len(strings.Fields(text))
			b.WriteString(text + "\n\n")
		}
	}
	return b.String(), made
}

// paragraph is two to five sentences.
func paragraph(r *rand.Rand) string {
	one := func(of []string) string { return of[r.IntN(len(of))] }
	clause := func() string { return one(who) + " " + one(did) + " " + one(what) + " " + one(where) }
	var sentences []string
	for range 2 + r.IntN(4) {
		parts := []string{clause()}
		for r.IntN(3) == 0 {
			parts = append(parts, one(join), clause())
		}
		s := strings.Join(parts, "")
		sentences = append(sentences, string(unicode.ToUpper(rune(s[0])))+s[1:]+".")
	}
	return strings.Join(sentences, " ")
}
