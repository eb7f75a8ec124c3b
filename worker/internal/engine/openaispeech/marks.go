package openaispeech

import (
	"regexp"
	"strings"
)

// marks are the control tokens of speech models, such as <|endofprompt|>: to a model
// they are no text but commands, and whoever writes a text is not to give any.
var marks = regexp.MustCompile(`<\|[^<>|]*\|>`)

// withoutMarks takes control tokens out of text, those too that appear when others
// are taken out.
func withoutMarks(text string) string {
	for strings.Contains(text, "<|") {
		rest := marks.ReplaceAllString(text, " ")
		if rest == text { // a beginning without an end
			return strings.ReplaceAll(text, "<|", "< ")
		}
		text = rest
	}
	return text
}
