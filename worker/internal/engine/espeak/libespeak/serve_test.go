package libespeak_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak/libespeak"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/serve"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These tests are not parallel: a process has one library.

// conversation runs Serve and returns what it answers to each of requests.
func conversation(t *testing.T, cfg libespeak.Config, requests ...wire.Request[ask.Request]) (hello wire.Hello, audio [][]byte, done []wire.Done) {
	t.Helper()
	var input, output bytes.Buffer
	w := wire.NewWriter(&input)
	for _, q := range requests {
		require.NoError(t, w.WriteJSON(wire.TypeRequest, q))
	}
	require.NoError(t, w.Flush())
	in := serve.NewInput[ask.Request]()
	go in.Read(t.Context(), &input)
	require.NoError(t, libespeak.Serve(t.Context(), cfg, in, &output), "espeak-ng is needed: apt-get install espeak-ng")

	r := wire.NewReader(&output)
	kind, body, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, wire.TypeHello, kind)
	require.NoError(t, wire.DecodeJSON(body, &hello))
	var pcm []byte
	for {
		kind, body, err := r.Next()
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return hello, audio, done
		}
		switch kind {
		case wire.TypeAudio:
			pcm = append(pcm, body...)
		case wire.TypeEvents:
			_, err := wire.DecodeEvents(nil, body)
			require.NoError(t, err)
		default:
			var d wire.Done
			require.Equal(t, wire.TypeDone, kind)
			require.NoError(t, wire.DecodeJSON(body, &d))
			require.EqualValues(t, len(pcm)/2, d.Samples)
			audio, done, pcm = append(audio, pcm), append(done, d), nil
		}
	}
}

func TestServeAnswersEachRequestAfresh(t *testing.T) {
	text := "The quick brown fox jumped over twelve dogs."
	hello, audio, done := conversation(t, libespeak.Config{},
		wire.Request[ask.Request]{ID: 1, Body: ask.Request{Voice: "en-us", WPM: 175, Text: text}},
		wire.Request[ask.Request]{ID: 2, Body: ask.Request{Voice: "de", WPM: 300, Text: "Etwas anderes."}},
		wire.Request[ask.Request]{ID: 3, Body: ask.Request{Voice: "en-us", WPM: 175, Text: text}},
	)
	require.Equal(t, wire.Version, hello.Version)
	require.Equal(t, 22050, hello.Rate)
	require.True(t, strings.HasPrefix(hello.Library, "1."), hello.Library)
	require.Len(t, done, 3)
	for i, d := range done {
		require.EqualValues(t, i+1, d.ID)
		require.Equal(t, wire.CodeOK, d.Code)
		require.NotEmpty(t, audio[i])
	}
	require.True(t, bytes.Equal(audio[0], audio[2]))
}

func TestServeSaysWhyThereIsNoAudio(t *testing.T) {
	_, audio, done := conversation(t, libespeak.Config{MaxSeconds: 2},
		wire.Request[ask.Request]{ID: 1, Body: ask.Request{Voice: "xx-none", WPM: 175, Text: "Hello."}},
		wire.Request[ask.Request]{ID: 2, Body: ask.Request{Voice: "en-us", WPM: 175, Text: strings.Repeat("On and on. ", 50)}},
		wire.Request[ask.Request]{ID: 3, Body: ask.Request{Voice: "en-us", WPM: 175, Text: "Hello."}},
	)
	require.Equal(t, wire.CodeVoice, done[0].Code)
	require.Empty(t, audio[0])
	require.Equal(t, wire.CodeLimit, done[1].Code)
	require.LessOrEqual(t, len(audio[1]), 2*2*22050)
	require.Equal(t, wire.CodeOK, done[2].Code, "the limit leaves nothing behind")
}

func TestServeEndsOnBrokenInput(t *testing.T) {
	for name, input := range map[string]string{
		"not a frame":        "GET / HTTP/1.1\r\n\r\n",
		"frame that is cut":  "\x00\x00\x00\x09q{",
		"frame of no sense":  "\x00\x00\x00\x03a{}",
		"request of no JSON": "\x00\x00\x00\x03q[]",
	} {
		in := serve.NewInput[ask.Request]()
		go in.Read(t.Context(), strings.NewReader(input))
		require.Error(t, libespeak.Serve(t.Context(), libespeak.Config{}, in, io.Discard), name)
		<-in.Ended()
		require.Error(t, in.Err(), name)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := serve.NewInput[ask.Request]()
	require.NoError(t, libespeak.Serve(ctx, libespeak.Config{}, in, io.Discard))
}

func TestServeNamesWhatIsMissing(t *testing.T) {
	in := serve.NewInput[ask.Request]()
	require.ErrorContains(t, libespeak.Serve(t.Context(), libespeak.Config{Library: "libnothing.so.1"}, in, io.Discard), "apt-get install espeak-ng")
	require.ErrorContains(t, libespeak.Serve(t.Context(), libespeak.Config{DataPath: t.TempDir()}, in, io.Discard), "apt-get install espeak-ng-data")
}
