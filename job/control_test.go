package job

import (
	"strings"
	"testing"
	"unicode"
)

func TestControlCharactersAreFoundByTheirBytes(t *testing.T) {
	t.Parallel()
	for r := range rune(0x3000) {
		for _, text := range []string{string(r), "aé" + string(r) + "語", "\n\t\r" + string(r), string(r) + "\x00"} {
			want := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) })
			if got := forbiddenControl(text); got != want {
				t.Fatalf("forbiddenControl(%q) = %d; want %d", text, got, want)
			}
		}
	}
}
