package engine

import (
	"regexp"
	"strings"
)

// controls are the control tokens of speech models, such as <|endofprompt|>.
var controls = regexp.MustCompile(`<\|[^<>|]*\|>`)

// WithoutControls returns r without control tokens in what its author wrote.
func (r Request) WithoutControls() Request {
	r.Text, r.Instructions = WithoutControls(r.Text), strings.TrimSpace(WithoutControls(r.Instructions))
	return r
}

// EndOfPrompt is CosyVoice3's control token between how it is to speak and what is said
// in the reference.
const EndOfPrompt = "<|endofprompt|>"

// CosyPrompt is the transcript of a reference with instructions for CosyVoice3 before it,
// where its servers take them from; those that the transcript has go. Without
// instructions it is the transcript.
func CosyPrompt(instructions, transcript string) string {
	if instructions == "" {
		return transcript
	}
	return "You are a helpful assistant. " + instructions + EndOfPrompt + WithoutPrompt(transcript)
}

// WithoutPrompt is a transcript of a reference without the instructions before it.
func WithoutPrompt(transcript string) string {
	if _, said, found := strings.Cut(transcript, EndOfPrompt); found {
		return said
	}
	return transcript
}

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
