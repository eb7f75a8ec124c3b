package engine_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

func TestControlTokensDoNotReachTheModel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Say <|endofprompt|>this.":        "Say  this.",
		"A <|s_123|><|eos1|> b":           "A    b",
		"Nested <|<|x|>|> marks":          "Nested   marks",
		"Split <<|x|>|endofprompt|> mark": "Split < |endofprompt|> mark",
		"Open <| and never closed":        "Open <  and never closed",
		"a < b | c > d":                   "a < b | c > d",
	} {
		got := engine.WithoutControls(text)
		require.Equal(t, want, got, text)
		require.NotContains(t, got, "<|")
	}
}

func FuzzControlTokens(f *testing.F) {
	f.Add("<|a|><<||><|")
	f.Fuzz(func(t *testing.T, text string) {
		if got := engine.WithoutControls(text); strings.Contains(got, "<|") {
			t.Fatalf("%q", got)
		}
	})
}
