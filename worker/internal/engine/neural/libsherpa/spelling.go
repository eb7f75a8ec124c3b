package libsherpa

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine/neural/phoneme"
)

// maxSymbols is what a model is given at once. Kokoro takes 510 with two around
// them; Piper's memory grows with the square.
const maxSymbols = 400

// spelling is the symbols that a model knows.
type spelling struct {
	style phoneme.Style
	known map[rune]bool
}

// readSpelling reads a table of symbols: one and its number on each line.
func readSpelling(family, path string) (*spelling, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := &spelling{known: map[rune]bool{}}
	if family == "kokoro" {
		s.style = phoneme.Kokoro
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if c, size := utf8.DecodeRuneInString(lines.Text()); strings.HasPrefix(lines.Text()[size:], " ") {
			s.known[c] = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(s.known) == 0 {
		return nil, fmt.Errorf("%s has no symbols", path)
	}
	return s, nil
}

// word appends what ipa is to the model, after a space if something precedes it.
func (s *spelling) word(symbols []int32, ipa, voice string) []int32 {
	spelled := phoneme.Spell(ipa, voice, s.style)
	first := true
	for _, c := range spelled {
		if !s.known[c] || c == '^' || c == '$' || c == '_' { // the last three frame a text for Piper
			continue
		}
		if first && len(symbols) > 0 && symbols[len(symbols)-1] != ' ' {
			symbols = append(symbols, ' ')
		}
		first = false
		symbols = append(symbols, c)
	}
	return symbols
}

// end appends a mark of punctuation, or one like it that the model knows.
func (s *spelling) end(symbols []int32, mark string) []int32 {
	c, _ := utf8.DecodeRuneInString(mark)
	if mark == "" || len(symbols) == 0 {
		return symbols
	}
	if !s.known[c] {
		c = ','
	}
	if last := symbols[len(symbols)-1]; !s.known[c] || strings.ContainsRune(".?!,;:—…", last) {
		return symbols
	}
	return append(symbols, c)
}

// cut divides symbols into parts of at most maxSymbols, at marks or spaces.
func (s *spelling) cut(symbols []int32) [][]int32 {
	var parts [][]int32
	for len(symbols) > maxSymbols {
		at := maxSymbols
		for _, marks := range []string{";:—", ",", " "} {
			if i := lastIn(symbols[:maxSymbols], marks); i > maxSymbols/4 {
				at = i + 1
				break
			}
		}
		parts = append(parts, symbols[:at])
		symbols = symbols[at:]
	}
	if len(symbols) > 0 {
		parts = append(parts, symbols)
	}
	return parts
}

func lastIn(symbols []int32, marks string) int {
	for i, c := range slices.Backward(symbols) {
		if strings.ContainsRune(marks, c) {
			return i
		}
	}
	return -1
}
