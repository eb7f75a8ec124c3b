package transcribe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
)

const testKey = "ear-secret"

var second = engine.Audio{Rate: 16000, Samples: make([]int16, 16000)}

// ask has a server that answers with handler hear a second of audio.
func ask(t *testing.T, handler http.HandlerFunc) (transcribe.Transcript, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	e, err := transcribe.New(transcribe.Config{Backend: server.URL, APIKey: config.NewSecret(testKey)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e.Hear(t.Context(), second, "en-GB")
}

func TestTheRequestIsOpenAIs(t *testing.T) {
	t.Parallel()
	got, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		file, _, err := r.FormFile("file")
		if err == nil && r.URL.Path == "/v1/audio/transcriptions" && r.Header.Get("Authorization") == "Bearer "+testKey &&
			r.FormValue("language") == "en" && r.FormValue("model") == "whisper-1" && r.FormValue("response_format") == "verbose_json" &&
			r.FormValue("timestamp_granularities[]") == "word" {
			rate, samples, _ := wav.Decode(file, len(second.Samples))
			_, _ = fmt.Fprintf(w, `{"text":" Hello there.","words":[{"word":" Hello","start":0.1,"end":0.4},{"word":"there.","start":0.9,"end":0.2}],"x":%d}`, rate+len(samples))
			return
		}
		w.WriteHeader(http.StatusTeapot)
	})
	require.NoError(t, err)
	require.Equal(t, transcribe.Transcript{
		Text: " Hello there.", Words: []listen.Span{{Text: "Hello", Start: .1, End: .4}, {Text: "there."}},
	}, got)
}

func TestPlainJSONHasWordsWithoutTimes(t *testing.T) {
	t.Parallel()
	got, err := ask(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"text":"Hello there."}`) })
	require.NoError(t, err)
	require.Equal(t, []listen.Span{{Text: "Hello"}, {Text: "there."}}, got.Words)
}

func TestFailuresHaveTheirKinds(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    job.Kind
		text    string
	}{
		"full":     {answer(503, `{"error":{"message":"queue full"}}`), job.Overloaded, "queue full"},
		"slower":   {answer(429, ``), job.Overloaded, "429"},
		"refused":  {answer(400, `{"detail":"bad `+testKey+`"}`), job.Invalid, "bad"},
		"broken":   {answer(500, `Internal Server Error`), job.Engine, "500"},
		"moved":    {answer(307, ``), job.Engine, "307"},
		"not JSON": {answer(200, `<html>`), job.Engine, "not a transcription"},
		"no text":  {answer(200, `{"words":[]}`), job.Engine, "no text"},
		"endless":  {answer(200, `{"text":"`+strings.Repeat("and so on ", 1<<19)+`"}`), job.Engine, "longer than"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, `{"te`)
		}, job.Engine, "lost"},
		"hung up":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, job.Engine, "lost"},
		"wrong types": {answer(200, `{"text":7}`), job.Engine, "not a transcription"},
	} {
		_, err := ask(t, c.handler)
		require.Errorf(t, err, name)
		require.Equalf(t, c.kind, job.KindOf(err), "%s: %v", name, err)
		require.Containsf(t, err.Error(), c.text, name)
		require.NotContains(t, err.Error(), testKey)
		if c.kind == job.Overloaded {
			after, ok := engine.RetryAfter(err)
			require.True(t, ok)
			require.Equal(t, 7*time.Second, after)
		}
	}
}

func TestAnEarThatIsAwayHungOrClosed(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
	}))
	e, err := transcribe.New(transcribe.Config{Backend: server.URL, Window: 1})
	require.NoError(t, err)
	left := errors.New("left")
	ctx, leave := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := e.Hear(ctx, second, "")
		done <- err
	}()
	<-asked
	waiting, stop := context.WithCancelCause(t.Context())
	stop(left)
	_, err = e.Hear(waiting, second, "") // there is one place, which is taken
	require.ErrorIs(t, err, left)
	leave(left)
	require.ErrorIs(t, <-done, left)
	server.Close()
	_, err = e.Hear(t.Context(), second, "")
	require.Equal(t, job.Unavailable, job.KindOf(err), "%v", err)
	_, err = e.Hear(t.Context(), engine.Audio{Rate: 16000}, "")
	require.Equal(t, job.Invalid, job.KindOf(err))
	_, err = e.Hear(t.Context(), engine.Audio{Rate: 1, Samples: make([]int16, 1000)}, "")
	require.Equal(t, job.Invalid, job.KindOf(err))
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	_, err = e.Hear(t.Context(), second, "")
	require.ErrorIs(t, err, engine.ErrClosed)
}

func TestConfigsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]transcribe.Config{
		"no address": {}, "password": {Backend: "http://a:b@c"}, "file": {Backend: "file:///x"},
		"key":    {Backend: "http://c", APIKey: config.NewSecret("a\r\nb")},
		"window": {Backend: "http://c", Window: -1}, "factor": {Backend: "http://c", TimeoutFactor: .5},
	} {
		_, err := transcribe.New(c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "a:b@c")
	}
}
