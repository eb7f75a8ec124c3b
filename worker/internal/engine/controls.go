package engine

import (
	"regexp"
	"strings"
)

// controls are the control tokens of speech models, such as <|endofprompt|>.
var controls = regexp.MustCompile(`<\|[^<>|]*\|>`)

// WithoutControls takes the control tokens of speech models out of text, those too
// that appear when others are taken out: to a model they are no text but commands,
// and whoever writes a text is not to give any.
func WithoutControls(text string) string {
	for strings.Contains(text, "<|") {
		rest := controls.ReplaceAllString(text, " ")
		if rest == text { // a beginning without an end
			return strings.ReplaceAll(text, "<|", "< ")
		}
		text = rest
	}
	return text
}
