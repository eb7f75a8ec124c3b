package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// prompt is how long an engine may take to notice that its caller left, on a
// busy machine.
const prompt = 5 * time.Second

// Run tests the engine that open returns against the contract of
// [engine.Engine]. open is called for each test and must register whatever
// clean-up the engine needs beside Close. The engine must have a MaxBatch of at
// least 4, and must speak English with its default voice.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, engine.Engine){
		"info is complete":                            infoIsComplete,
		"results keep the order of the batch":         resultsKeepOrder,
		"the same request gets the same samples":      repeatsItself,
		"concurrent calls do not mix":                 concurrentCallsDoNotMix,
		"more calls than the window wait":             moreCallsThanWindow,
		"every voice named can be asked for":          unknownVoiceIsInvalid,
		"empty text is invalid":                       emptyTextIsInvalid,
		"text over the limit is invalid":              longestTextAndOneMore,
		"impossible requests are invalid":             impossibleRequests,
		"one bad request leaves the others alone":     oneBadRequest,
		"empty and oversized batches are refused":     batchSizes,
		"a cancelled context returns promptly":        cancelledContext,
		"a context cancelled in mid-call is obeyed":   cancelledMidCall,
		"unicode text yields marks on its boundaries": unicodeMarks,
		"instructions are followed, or refused":       instructions,
		"close twice, then calls are refused":         closeTwice,
		"close ends calls in progress":                closeEndsCalls,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			t.Cleanup(func() { require.NoError(t, e.Close()) })
			test(t, e)
		})
	}
}

// Sentence returns an English sentence that no other n yields; a larger n is
// never shorter in speech by more than a word.
func Sentence(n int) string {
	return fmt.Sprintf("This is sentence number %d of the test%s.", n, strings.Repeat(", and it goes on", n%7))
}

// Request returns a request for text with a plausible prediction.
func Request(text string) engine.Request {
	return engine.Request{ID: "test", Text: text, Seconds: 0.2 + float64(utf8.RuneCountInString(text))/15}
}

// Good fails the test unless r is sound audio for q.
func Good(t *testing.T, e engine.Engine, q engine.Request, r engine.Result) {
	t.Helper()
	require.NoError(t, r.Err)
	require.Equal(t, e.Info().Rate, r.Audio.Rate)
	require.NotEmpty(t, r.Audio.Samples)
	for _, marks := range [][]engine.Mark{r.Sentences, r.Words} {
		end, sample := 0, int64(0)
		for _, m := range marks {
			require.Truef(t, m.Start >= end && m.Start < m.End && m.End <= len(q.Text), "mark %+v after byte %d in a text of %d", m, end, len(q.Text))
			require.Truef(t, m.Sample >= sample && m.Sample <= int64(len(r.Audio.Samples)), "mark %+v after sample %d of %d", m, sample, len(r.Audio.Samples))
			require.Truef(t, utf8.ValidString(q.Text[m.Start:m.End]), "mark %+v cuts a character", m)
			end, sample = m.End, m.Sample
		}
	}
}

func speakOne(t *testing.T, e engine.Engine, q engine.Request) engine.Result {
	t.Helper()
	results, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

func infoIsComplete(t *testing.T, e engine.Engine) {
	t.Helper()
	info := e.Info()
	require.NotEmpty(t, info.Name)
	require.NotEmpty(t, info.Model)
	require.Positive(t, info.Rate)
	require.NotEmpty(t, info.Voices)
	require.GreaterOrEqual(t, info.MaxBatch, 4)
	require.Positive(t, info.Window)
	require.GreaterOrEqual(t, info.MaxTextBytes, 1024)
	seen := map[string]bool{}
	for _, v := range info.Voices {
		require.NotEmpty(t, v.Name)
		require.Falsef(t, seen[v.Name], "voice %s is there twice", v.Name)
		seen[v.Name] = true
	}
}

func resultsKeepOrder(t *testing.T, e engine.Engine) {
	t.Helper()
	texts := []string{Sentence(6), Sentence(0), Sentence(4), Sentence(1)}
	alone := make([]engine.Result, len(texts))
	batch := make([]engine.Request, len(texts))
	for i, text := range texts {
		batch[i] = Request(text)
		alone[i] = speakOne(t, e, batch[i])
		Good(t, e, batch[i], alone[i])
	}
	results, err := e.Synthesize(t.Context(), batch)
	require.NoError(t, err)
	require.Len(t, results, len(batch))
	for i := range results {
		Good(t, e, batch[i], results[i])
		require.Lenf(t, results[i].Audio.Samples, len(alone[i].Audio.Samples), "request %d has the length of another text", i)
	}
}

// repeatsItself holds the engine to what it says of its seeds.
func repeatsItself(t *testing.T, e engine.Engine) {
	t.Helper()
	q := Request(Sentence(1))
	q.Seed = 7
	first := speakOne(t, e, q)
	Good(t, e, q, first)
	if e.Info().Repeats {
		require.True(t, slices.Equal(first.Audio.Samples, speakOne(t, e, q).Audio.Samples), "the samples differ")
	}
	if e.Info().Seeds {
		q.Seed = 8
		require.False(t, slices.Equal(first.Audio.Samples, speakOne(t, e, q).Audio.Samples), "another seed makes no difference")
	}
}

func concurrentCallsDoNotMix(t *testing.T, e engine.Engine) {
	t.Helper()
	callConcurrently(t, e, e.Info().Window)
}

func moreCallsThanWindow(t *testing.T, e engine.Engine) {
	t.Helper()
	callConcurrently(t, e, 3*e.Info().Window+1)
}

func callConcurrently(t *testing.T, e engine.Engine, calls int) {
	t.Helper()
	const distinct = 4
	var want [distinct]int
	for i := range want {
		want[i] = len(speakOne(t, e, Request(Sentence(i))).Audio.Samples)
	}
	errs := make([]error, calls)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			results, err := e.Synthesize(t.Context(), []engine.Request{Request(Sentence(i % distinct))})
			switch {
			case err != nil:
				errs[i] = err
			case results[0].Err != nil:
				errs[i] = results[0].Err
			case len(results[0].Audio.Samples) != want[i%distinct]:
				errs[i] = fmt.Errorf("call %d got %d samples; want %d", i, len(results[0].Audio.Samples), want[i%distinct])
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

func unknownVoiceIsInvalid(t *testing.T, e engine.Engine) {
	t.Helper()
	q := Request(Sentence(0))
	q.Voice = e.Info().Voices[0].Name
	Good(t, e, q, speakOne(t, e, q))
	q.Voice = "nobody"
	requireInvalid(t, speakOne(t, e, q).Err)
}

func emptyTextIsInvalid(t *testing.T, e engine.Engine) {
	t.Helper()
	for _, text := range []string{"", " ", "\n\t  "} {
		requireInvalid(t, speakOne(t, e, Request(text)).Err)
	}
}

func longestTextAndOneMore(t *testing.T, e engine.Engine) {
	t.Helper()
	limit := e.Info().MaxTextBytes
	text := strings.Repeat("All work and no play makes a long text. ", limit/40+1)[:limit]
	q := Request(text)
	Good(t, e, q, speakOne(t, e, q))
	requireInvalid(t, speakOne(t, e, Request(text+"s")).Err)
}

func impossibleRequests(t *testing.T, e engine.Engine) {
	t.Helper()
	for name, change := range map[string]func(*engine.Request){
		"text is not UTF-8":              func(q *engine.Request) { q.Text = "caf\xe9" },
		"speed is zero point one":        func(q *engine.Request) { q.Speed = 0.1 },
		"speed is five":                  func(q *engine.Request) { q.Speed = 5 },
		"speed is negative":              func(q *engine.Request) { q.Speed = -1 },
		"speed is not a number":          func(q *engine.Request) { q.Speed = math.NaN() },
		"prediction is infinite":         func(q *engine.Request) { q.Seconds = math.Inf(1) },
		"prediction is negative":         func(q *engine.Request) { q.Seconds = -1 },
		"pronunciation outside the text": func(q *engine.Request) { q.Pronunciations = []engine.Pronunciation{{Start: 0, End: 10_000}} },
		"pronunciation of nothing":       func(q *engine.Request) { q.Pronunciations = []engine.Pronunciation{{Start: 3, End: 3}} },
		"pronunciations overlap": func(q *engine.Request) {
			q.Pronunciations = []engine.Pronunciation{{Start: 0, End: 4}, {Start: 2, End: 6}}
		},
	} {
		q := Request(Sentence(0))
		change(&q)
		err := speakOne(t, e, q).Err
		require.Errorf(t, err, "when the %s", name)
		requireInvalid(t, err)
	}
}

func oneBadRequest(t *testing.T, e engine.Engine) {
	t.Helper()
	batch := []engine.Request{Request(Sentence(0)), Request(""), Request(Sentence(2))}
	results, err := e.Synthesize(t.Context(), batch)
	require.NoError(t, err)
	Good(t, e, batch[0], results[0])
	requireInvalid(t, results[1].Err)
	require.Empty(t, results[1].Audio.Samples)
	Good(t, e, batch[2], results[2])
}

func batchSizes(t *testing.T, e engine.Engine) {
	t.Helper()
	_, err := e.Synthesize(t.Context(), nil)
	requireInvalid(t, err)
	_, err = e.Synthesize(t.Context(), make([]engine.Request, e.Info().MaxBatch+1))
	requireInvalid(t, err)
}

func cancelledContext(t *testing.T, e engine.Engine) {
	t.Helper()
	left := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	begun := time.Now()
	results, err := e.Synthesize(ctx, []engine.Request{Request(Sentence(1))})
	require.ErrorIs(t, err, left)
	require.Nil(t, results)
	require.Less(t, time.Since(begun), prompt)
}

func cancelledMidCall(t *testing.T, e engine.Engine) {
	t.Helper()
	left := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	busy := make(chan struct{})
	go func() { ended <- keepBusy(ctx, e, busy) }()
	select {
	case <-busy:
	case err := <-ended:
		t.Fatalf("the first call failed: %v", err)
	}
	cancel(left)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, left)
	case <-time.After(prompt):
		t.Fatal("the call did not end")
	}
	q := Request(Sentence(3)) // the engine is as good as before
	Good(t, e, q, speakOne(t, e, q))
}

// keepBusy calls e until that fails. It closes busy after the first call.
func keepBusy(ctx context.Context, e engine.Engine, busy chan<- struct{}) error {
	for round := 0; ; round++ {
		if round == 1 {
			close(busy)
		}
		batch := []engine.Request{Request(strings.Repeat(Sentence(5)+" ", 6)), Request(strings.Repeat(Sentence(6)+" ", 6))}
		results, err := e.Synthesize(ctx, batch)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return fmt.Errorf("result beside a call that did not fail: %w", r.Err)
			}
		}
	}
}

func unicodeMarks(t *testing.T, e engine.Engine) {
	t.Helper()
	for _, text := range []string{
		"Café, naïve, “quoted” — and a dash. It’s 3½ £5 €7!",
		"An emoji 👩‍👩‍👧 family and 𝔪𝔞𝔱𝔥 letters.",
		"e\u0301 combining, \u200bzero\u200dwidth, right\u200fto left.",
		"Tabs\tand\r\nlines\n\nand \x01control\x00 characters.",
	} {
		q := Request(text)
		Good(t, e, q, speakOne(t, e, q))
	}
}

// instructions holds the engine to what it says of its voices: one that takes instructions
// sounds otherwise with them, and any other refuses them.
func instructions(t *testing.T, e engine.Engine) {
	t.Helper()
	for _, v := range e.Info().Voices[:min(2, len(e.Info().Voices))] {
		q := Request(Sentence(1))
		q.Voice, q.Language = v.Name, v.Language
		plain := speakOne(t, e, q)
		Good(t, e, q, plain)
		q.Instructions = "Speak as quietly as you can."
		r := speakOne(t, e, q)
		if !v.Instructions {
			requireInvalid(t, r.Err)
			require.Contains(t, job.PublicOf(r.Err, ""), v.Name)
			continue
		}
		Good(t, e, q, r)
		require.False(t, slices.Equal(plain.Audio.Samples, r.Audio.Samples), "instructions make no difference")
	}
}

func closeTwice(t *testing.T, e engine.Engine) {
	t.Helper()
	q := Request(Sentence(0))
	Good(t, e, q, speakOne(t, e, q))
	require.NoError(t, e.Close())
	require.NoError(t, e.Close())
	_, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.ErrorIs(t, err, engine.ErrClosed)
}

func closeEndsCalls(t *testing.T, e engine.Engine) {
	t.Helper()
	ended := make(chan error, 1)
	busy := make(chan struct{})
	go func() { ended <- keepBusy(t.Context(), e, busy) }()
	select {
	case <-busy:
	case err := <-ended:
		t.Fatalf("the first call failed: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	for range 2 {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, engine.ErrClosed)
		case err := <-closed:
			require.NoError(t, err)
		case <-time.After(prompt):
			t.Fatal("Close or the call did not end")
		}
	}
}

func requireInvalid(t *testing.T, err error) {
	t.Helper()
	var e *job.Error
	require.ErrorAs(t, err, &e)
	require.Equalf(t, job.Invalid, job.KindOf(err), "kind of %v", err)
}
