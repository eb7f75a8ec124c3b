package clients_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// openAITests let the official Go client of OpenAI's API speak to voicemill as
// to the server that it was made for: only address and key are others.
func openAITests(solo *stage.Solo) map[string]func(*testing.T) {
	tests := map[string]func(*testing.T){
		"a refusal is an error of its own kind": func(t *testing.T) { openAIError(t, solo) },
	}
	for format, container := range map[openai.AudioSpeechNewParamsResponseFormat]string{
		openai.AudioSpeechNewParamsResponseFormatMP3: "mp3", openai.AudioSpeechNewParamsResponseFormatOpus: "ogg",
		openai.AudioSpeechNewParamsResponseFormatAAC: "aac", openai.AudioSpeechNewParamsResponseFormatFLAC: "flac",
		openai.AudioSpeechNewParamsResponseFormatWAV: "wav", openai.AudioSpeechNewParamsResponseFormatPCM: "s16le",
	} {
		tests["a text becomes "+string(format)] = func(t *testing.T) { openAISpeech(t, solo, format, container) }
	}
	return tests
}

// openAI returns the client, with what it sends and gets held against our contract.
func openAI(t *testing.T, solo *stage.Solo, key string) (context.Context, *openai.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	contract, err := apitest.Load(ctx)
	require.NoError(t, err)
	c := openai.NewClient(option.WithBaseURL(solo.URL()+"/v1/"), option.WithAPIKey(key), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: &apitest.Transport{Contract: contract}}))
	return ctx, &c
}

func openAISpeech(t *testing.T, solo *stage.Solo, format openai.AudioSpeechNewParamsResponseFormat, container string) {
	t.Helper()
	ctx, c := openAI(t, solo, solo.Key())
	resp, err := c.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{
		Model: openai.SpeechModelTTS1, Input: "The official client asked for " + string(format) + ". It was given what it asked for.",
		Voice: voice(ctx, t, solo), ResponseFormat: format,
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	audio, err := io.ReadAll(resp.Body)
	require.NoError(t, err)

	file := filepath.Join(t.TempDir(), "speech")
	require.NoError(t, os.WriteFile(file, audio, 0o600))
	args := []string{"-v", "error", "-f", container}
	if container == "s16le" {
		args = append(args, "-ar", "24000")
	}
	args = append(args, "-show_entries", "format=format_name:stream=channels", "-count_packets", "-of", "default=noprint_wrappers=1:nokey=1", file)
	code, out, errs, err := stage.Run(ctx, requireProgram(t, "ffprobe"), nil, args...)
	require.NoError(t, err)
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	require.Contains(t, strings.Fields(out), container)
	require.Greater(t, len(audio), 4000, "seconds of sound")
}

// voice is the name of the first voice, as a caller of OpenAI's would give it.
func voice(ctx context.Context, t *testing.T, solo *stage.Solo) openai.AudioSpeechNewParamsVoiceUnion {
	t.Helper()
	code, out, errs, err := solo.Command(ctx, "voices", "--json")
	require.NoError(t, err)
	require.Zero(t, code, errs)
	_, name, found := strings.Cut(out, `"name":"`)
	require.True(t, found, out)
	name, _, _ = strings.Cut(name, `"`)
	return openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String(name)}
}

func openAIError(t *testing.T, solo *stage.Solo) {
	t.Helper()
	ctx, c := openAI(t, solo, solo.Key())
	ask := openai.AudioSpeechNewParams{
		Model: openai.SpeechModelTTS1, Input: "Hello.", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("nobody")},
	}
	_, err := c.Audio.Speech.New(ctx, ask) //nolint:bodyclose // an error has none
	var refused *openai.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusBadRequest, refused.StatusCode)
	require.Equal(t, "voice", refused.Param)
	require.Contains(t, refused.Message, "nobody")
	require.Equal(t, "invalid_request_error", refused.Type)

	_, stranger := openAI(t, solo, "vm_0123456789abcdefghjkmnpqrs")
	_, err = stranger.Audio.Speech.New(ctx, ask) //nolint:bodyclose // an error has none
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusUnauthorized, refused.StatusCode)
}
