package engine_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

func TestWordsOfABackendFitALog(t *testing.T) {
	t.Parallel()
	require.Equal(t, "out of … memory", engine.Words("out\n\tof data:audio/wav;base64,UklGRgAA memory "))
	got := engine.Words("\xff " + strings.Repeat("x", 200) + strings.Repeat(" word", 200))
	require.True(t, utf8.ValidString(got))
	require.NotContains(t, got, "xxx")
	require.Equal(t, 301, utf8.RuneCountInString(got))
}
