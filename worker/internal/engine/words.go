package engine

import "strings"

const (
	maxWords = 300 // runes of a backend's message that are kept
	maxWord  = 128 // bytes; what is longer is no word but data
)

// Words makes what a backend says fit for a log: one short line of valid UTF-8,
// without audio that it sent back.
func Words(text string) string {
	words := strings.Fields(strings.ToValidUTF8(text, "�"))
	for i, w := range words {
		if strings.Contains(w, ";base64,") || len(w) > maxWord {
			words[i] = "…"
		}
	}
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxWords {
		return string(runes[:maxWords]) + "…"
	}
	return string(runes)
}
