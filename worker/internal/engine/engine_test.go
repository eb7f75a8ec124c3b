package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckNamesTheFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request engine.Request
		fault   string // empty: fine
	}{
		"plain":                          {engine.Request{Text: "Hello."}, ""},
		"everything set":                 {engine.Request{Text: "Hello.", Speed: 0.25, Seconds: 1, Pronunciations: []engine.Pronunciation{{Start: 0, End: 5}, {Start: 5, End: 6}}}, ""},
		"exactly the limit":              {engine.Request{Text: "0123456789"}, ""},
		"over the limit":                 {engine.Request{Text: "0123456789a"}, "11 bytes; at most 10"},
		"no text":                        {engine.Request{}, "no text"},
		"only space":                     {engine.Request{Text: " \u00a0\n"}, "no text"},
		"not UTF-8":                      {engine.Request{Text: "a\xff"}, "UTF-8"},
		"too slow":                       {engine.Request{Text: "a", Speed: 0.2}, "speed is 0.2"},
		"too fast":                       {engine.Request{Text: "a", Speed: 4.1}, "speed is 4.1"},
		"no number":                      {engine.Request{Text: "a", Speed: math.NaN()}, "speed is NaN"},
		"endless":                        {engine.Request{Text: "a", Seconds: math.Inf(1)}, "predicted"},
		"pronunciation cuts a character": {engine.Request{Text: "äb", Pronunciations: []engine.Pronunciation{{Start: 1, End: 3}}}, "bytes 1 to 3"},
		"pronunciation is negative":      {engine.Request{Text: "ab", Pronunciations: []engine.Pronunciation{{Start: -1, End: 1}}}, "bytes -1 to 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.request.Check(10)
			if c.fault == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, job.Invalid, job.KindOf(err))
			require.Contains(t, job.PublicOf(err, ""), c.fault)
		})
	}
}

func TestPickVoice(t *testing.T) {
	t.Parallel()
	voices := []engine.Voice{
		{Name: "en", Language: "en"},
		{Name: "gb", Language: "en-GB"},
		{Name: "br", Language: "pt-BR"},
		{Name: "zh", Language: "zh-Hant"},
		{Name: "bob", Language: "en"},
	}
	anyone := append([]engine.Voice{{Name: "any"}}, voices...)
	for name, c := range map[string]struct {
		voices          []engine.Voice
		voice, language string
		want            string // empty: none
	}{
		"by name":                        {voices, "bob", "", "bob"},
		"by name whatever the language":  {voices, "bob", "pt", "bob"},
		"unknown name":                   {voices, "eve", "en", ""},
		"language":                       {voices, "", "en", "en"},
		"language in other case":         {voices, "", "EN-gb", "gb"},
		"region that is not there":       {voices, "", "en-AU", "en"},
		"language with a region only":    {voices, "", "pt", "br"},
		"other region":                   {voices, "", "pt-PT", "br"},
		"script and region":              {voices, "", "zh-Hant-TW", "zh"},
		"prefix of a tag is no language": {voices, "", "e", ""},
		"unknown language":               {voices, "", "xx", ""},
		"neither":                        {voices, "", "", "bob"},
		"one that speaks anything":       {anyone, "", "xx", "any"},
		"a better one than anything":     {anyone, "", "pt", "br"},
		"no voices":                      {nil, "", "en", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, ok := engine.Request{Voice: c.voice, Language: c.language}.PickVoice(c.voices, "bob")
			require.Equal(t, c.want != "", ok)
			if ok {
				require.Equal(t, c.want, c.voices[i].Name)
			}
		})
	}
}

func TestSpeakable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"a": true, "7": true, "漢": true, "½": true, "…": false, "—!?": false, "👍": false, "": false} {
		require.Equalf(t, want, engine.Request{Text: text}.Speakable(), "%q", text)
	}
}

func TestRetryAfterIsFoundThroughWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("call: %w", &job.Error{Kind: job.Overloaded, Err: fmt.Errorf("429: %w", &engine.BusyError{After: time.Minute})})
	after, ok := engine.RetryAfter(err)
	require.True(t, ok)
	require.Equal(t, time.Minute, after)
	_, ok = engine.RetryAfter(errors.New("other"))
	require.False(t, ok)
}

func TestEndedCallsAreRetryable(t *testing.T) {
	t.Parallel()
	err := engine.CallError("test", context.Canceled)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, job.Retryable(err), "nothing is known against the requests")
}

func TestCallsCloseEndsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls engine.Calls
		ctx, end, ok := calls.Begin(t.Context())
		require.True(t, ok)
		closed := make(chan bool)
		go func() { closed <- calls.Close() }()
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), engine.ErrClosed)
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close did not wait for the call")
		default:
		}
		_, _, ok = calls.Begin(t.Context())
		require.False(t, ok)
		end()
		require.True(t, <-closed)
		require.False(t, calls.Close())
	})
}

func TestEachKeepsResultsOfACallThatEndedJustAfter(t *testing.T) {
	t.Parallel()
	var calls engine.Calls
	ctx, cancel := context.WithCancel(t.Context())
	results, err := engine.Each(ctx, "test", &calls, 2, make([]engine.Request, 2), func(context.Context, *engine.Request) engine.Result {
		cancel()
		return engine.Result{Audio: engine.Audio{Rate: 1, Samples: []int16{1}}}
	})
	require.NoError(t, err)
	require.Len(t, results, 2)
}

func TestAudioLength(t *testing.T) {
	t.Parallel()
	a := engine.Audio{Rate: 24000, Samples: make([]int16, 36000)}
	require.InDelta(t, 1.5, a.Seconds(), 0)
	require.Equal(t, 1500*time.Millisecond, a.Duration())
	require.Zero(t, engine.Audio{}.Seconds())
}
