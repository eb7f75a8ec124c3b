package single_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

func TestSpeechIsHeardInEveryFormat(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)

	seconds := map[string]float64{}
	for format, codec := range map[string]string{"wav": "pcm_s16le", "pcm": "pcm_s16le", "mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac"} {
		body, err := json.Marshal(map[string]any{
			"model": "tts-1", "voice": "narrator-en", "response_format": format,
			"input": "It was the best of times, it was the worst of times. It was the age of wisdom.\n\nIt was the age of foolishness.",
		})
		require.NoError(t, err)
		before := time.Now()
		answer, err := c.Do(ctx, http.MethodPost, "/v1/audio/speech", body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, "%s: %s", format, answer.Body)
		t.Logf("%s: %d bytes in %s", format, len(answer.Body), time.Since(before).Round(time.Millisecond))
		var got string
		got, seconds[format] = probe(ctx, t, format, answer.Body)
		require.Equal(t, codec, got)

		doc, err := c.Await(ctx, strings.TrimPrefix(answer.Header.Get("Location"), "/v1/jobs/"))
		require.NoError(t, err)
		requireSucceeded(t, doc)
		// The chapter ends with a pause that speech has not.
		require.InDelta(t, doc.Artifacts[0].AudioSeconds, seconds[format]+1.5, 0.12, format)
	}
	for format, n := range seconds {
		require.InDelta(t, seconds["wav"], n, 0.12, format)
	}
}

// probe says what audio is and how long it sounds.
func probe(ctx context.Context, t *testing.T, format string, audio []byte) (codec string, seconds float64) {
	t.Helper()
	var raw []string
	if format == "pcm" {
		raw = []string{"-f", "s16le", "-ar", "24000", "-ac", "1"}
	}
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, append(append([]string{"-v", "error"}, raw...), args...)...) //nolint:gosec // constants
		cmd.Stdin = bytes.NewReader(audio)
		out, err := cmd.Output()
		require.NoError(t, err, "%s is needed: apt-get install ffmpeg", name)
		return string(out)
	}
	codec = strings.TrimSpace(run("ffprobe", "-of", "csv=p=0", "-show_entries", "stream=codec_name", "-i", "pipe:0"))
	samples := run("ffmpeg", "-i", "pipe:0", "-f", "s16le", "-ar", "24000", "-ac", "1", "pipe:1")
	return codec, float64(len(samples)) / 48_000
}
