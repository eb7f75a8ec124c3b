package triton

import (
	"context"
	"encoding/binary"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/kserve"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
)

func decoupled(s *server) { s.decoupled = true }
func batched(s *server)   { s.maxBatch, s.sizes = 3, true }

func speakOne(t *testing.T, e *Engine, q engine.Request) engine.Result {
	t.Helper()
	results, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.NoError(t, err)
	return results[0]
}

// Instructions stand before the transcript, without what their author may not write.
func TestInstructionsStandBeforeTheTranscript(t *testing.T) {
	t.Parallel()
	v := newReference(make([]int16, refRate), "What is said.")
	require.Equal(t, v.text, v.instructed("").text)
	require.Equal(t, element("You are a helpful assistant. Be warm.<|endofprompt|>What is said."), v.instructed("Be warm.").text)
	v = newReference(make([]int16, refRate), "You are a helpful assistant. Be cold.<|endofprompt|>What is said.")
	require.Equal(t, element("You are a helpful assistant. Be warm.<|endofprompt|>What is said."), v.instructed("Be warm.").text)
}

func TestFaultsOfABackend(t *testing.T) {
	t.Parallel()
	for fault, c := range map[string]struct {
		kind job.Kind
		is   error
	}{
		"HANG":               {job.Engine, engine.ErrLost},
		"RESET":              {job.Engine, engine.ErrLost},
		"DEATH":              {job.Engine, engine.ErrLost},
		"GONE":               {job.Unavailable, errNotReady},
		"NAN":                {job.Engine, errNumbers},
		"INF":                {job.Engine, errNumbers},
		"LIMIT":              {job.Engine, errLimit},
		"ENDLESS":            {job.Engine, errTooLong},
		"EMPTY":              {job.Engine, errEmpty},
		"SHAPE":              {job.Engine, errShape},
		"NEGATIVE":           {job.Engine, errShape},
		"HUGE":               {job.Engine, errShape},
		"ROWS":               {job.Engine, errShape},
		"TYPE":               {job.Engine, errShape},
		"NORAW":              {job.Engine, errShape},
		"Canceled":           {job.Engine, nil},
		"Unknown":            {job.Engine, nil},
		"InvalidArgument":    {job.Invalid, nil},
		"DeadlineExceeded":   {job.Engine, nil},
		"NotFound":           {job.NotFound, nil},
		"PermissionDenied":   {job.Forbidden, nil},
		"ResourceExhausted":  {job.Overloaded, nil},
		"FailedPrecondition": {job.Invalid, nil},
		"Unimplemented":      {job.Invalid, nil},
		"Internal":           {job.Engine, nil},
		"Unavailable":        {job.Overloaded, nil},
		"Unauthenticated":    {job.Unauthorized, nil},
	} {
		for name, kind := range map[string]func(*server){"one answer": func(*server) {}, "a stream": decoupled} {
			t.Run(fault+" from "+name, func(t *testing.T) {
				t.Parallel()
				cfg := settings(t, serve(t, kind))
				if fault == "HANG" || fault == "RESET" {
					cfg.MinTimeout, cfg.TimeoutFactor = 600*time.Millisecond, 1
				}
				q := enginetest.Request(fault + " is what happens to this text.")
				q.Seconds = 0.1
				r := speakOne(t, open(t, cfg), q)
				require.Error(t, r.Err)
				require.Equalf(t, c.kind, job.KindOf(r.Err), "%v", r.Err)
				if c.is != nil {
					require.ErrorIs(t, r.Err, c.is)
				} else {
					require.NotErrorIs(t, r.Err, engine.ErrLost)
				}
				require.Empty(t, r.Audio.Samples)
				require.NotEmpty(t, r.Backend)
				require.NotContains(t, r.Err.Error(), "\n")
				require.NotContains(t, r.Err.Error(), "xxxx")
			})
		}
	}
}

func TestAnAnswerWithoutTheOutputIsEmpty(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, speakOne(t, open(t, settings(t, serve(t))), enginetest.Request("NOTHING comes.")).Err, errEmpty)
}

func TestAStreamThatEndsEarlyOrFailsInWords(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t, decoupled)))
	err := speakOne(t, e, enginetest.Request("CUT is what this is.")).Err
	require.ErrorIs(t, err, errCut)
	require.ErrorIs(t, err, engine.ErrLost)
	err = speakOne(t, e, enginetest.Request("WORDS are all that comes.")).Err
	require.Equal(t, job.Engine, job.KindOf(err))
	require.NotErrorIs(t, err, engine.ErrLost)
	require.ErrorContains(t, err, "no speech tokens")
}

func TestABackendThatCannotBeReachedWasAskedNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	cfg := settings(t, s)
	e := open(t, cfg)
	require.NoError(t, e.Probe(t.Context()))
	s.Stop()
	e = open(t, cfg) // one that has no connection yet
	r := speakOne(t, e, enginetest.Request("Is anybody there?"))
	require.Equal(t, job.Unavailable, job.KindOf(r.Err), "%v", r.Err)
	require.NotErrorIs(t, r.Err, engine.ErrLost)
	require.Equal(t, job.Unavailable, job.KindOf(e.Probe(t.Context())))
}

// What is learnt about a model is forgotten with a failure: it may be another by then.
func TestAServerThatComesBackWithAnotherModelIsAskedAnew(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, settings(t, s))
	q := enginetest.Request(enginetest.Sentence(1))
	enginetest.Good(t, e, q, speakOne(t, e, q))
	s.set(func() { s.decoupled = true })
	require.Equal(t, job.Invalid, job.KindOf(speakOne(t, e, q).Err))
	enginetest.Good(t, e, q, speakOne(t, e, q))
}

func TestModelsThatCannotBeUsedAreNamed(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*kserve.ModelMetadataResponse){
		"no target_text":          func(m *kserve.ModelMetadataResponse) { m.Inputs = m.Inputs[:3] },
		"no waveform":             func(m *kserve.ModelMetadataResponse) { m.Outputs = nil },
		`reference_wav is "FP16"`: func(m *kserve.ModelMetadataResponse) { m.Inputs[0].Datatype = "FP16" },
	} {
		err := speakOne(t, open(t, settings(t, serve(t, func(s *server) { s.change = change }))), enginetest.Request("What are you?")).Err
		require.Equal(t, job.Invalid, job.KindOf(err), says)
		require.ErrorContains(t, err, says)
	}
	cfg := settings(t, serve(t))
	cfg.Model = "cosyvoice2"
	require.Equal(t, job.NotFound, job.KindOf(speakOne(t, open(t, cfg), enginetest.Request("Who are you?")).Err))
}

func decode(raw []byte) (samples []float32) {
	for len(raw) > 0 {
		samples, raw = append(samples, math.Float32frombits(binary.LittleEndian.Uint32(raw))), raw[4:]
	}
	return samples
}

func TestRequestSaysWhatTheModelNeeds(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, settings(t, s))
	q := enginetest.Request("A word with “quotes”<|endofprompt|> and 漢字.")
	q.Seed = 7
	enginetest.Good(t, e, q, speakOne(t, e, q))
	got := s.seen()[0]
	shapes := map[string][]int64{}
	raw := map[string][]byte{}
	for i, in := range got.GetInputs() {
		shapes[in.GetDatatype()+" "+in.GetName()], raw[in.GetName()] = in.GetShape(), got.GetRawInputContents()[i]
		require.Nil(t, in.GetContents())
	}
	require.Equal(t, map[string][]int64{
		"FP32 reference_wav": {1, 160000}, "INT32 reference_wav_len": {1, 1}, "BYTES reference_text": {1, 1}, "BYTES target_text": {1, 1},
	}, shapes)
	require.Equal(t, element("A word with “quotes”  and 漢字."), raw["target_text"])
	require.Equal(t, append([]byte{13, 0, 0, 0}, "What is said."...), raw["reference_text"])
	require.EqualValues(t, 3*16000, binary.LittleEndian.Uint32(raw["reference_wav_len"]))
	wave := decode(raw["reference_wav"])
	loudest := float32(0)
	for _, x := range wave[:3*16000] {
		loudest = max(loudest, x)
	}
	require.InDelta(t, 8000./32768, loudest, .01)
	require.Equal(t, make([]float32, 160000-3*16000), wave[3*16000:])
	require.Equal(t, "waveform", got.GetOutputs()[0].GetName())
	require.Len(t, got.GetOutputs(), 1)
	require.Empty(t, got.GetParameters())
	require.Equal(t, "test", got.GetId())
}

func TestADecoupledModelIsAskedForAnEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, decoupled)
	e := open(t, settings(t, s))
	q := enginetest.Request(enginetest.Sentence(3))
	r := speakOne(t, e, q)
	enginetest.Good(t, e, q, r)
	require.Len(t, r.Audio.Samples, len(speech(q.Text)))
	require.True(t, s.seen()[0].GetParameters()[kserve.WantEmptyFinal].GetBoolParam())
}

func TestOneCallHasSeveralTextsOnlyWhereTheModelSaysHowLongTheyAre(t *testing.T) {
	t.Parallel()
	batch := make([]engine.Request, 8)
	for i := range batch {
		batch[i] = enginetest.Request(enginetest.Sentence(i))
	}
	for name, c := range map[string]struct {
		kind  func(*server)
		calls int
	}{
		"the official model":         {func(s *server) { s.maxBatch = 16 }, 8},
		"one that tells the lengths": {batched, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.kind)
			e := open(t, settings(t, s))
			results, err := e.Synthesize(t.Context(), batch)
			require.NoError(t, err)
			for i, r := range results {
				enginetest.Good(t, e, batch[i], r)
				require.Len(t, r.Audio.Samples, len(speech(batch[i].Text)))
			}
			require.Len(t, s.seen(), c.calls)
		})
	}
}

func TestACallOfSeveralTextsThatFailsFailsThemAll(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]error{"ROWS are lost.": errShape, "SIZES are wrong.": errShape, "INTERNAL it is.": nil} {
		e := open(t, settings(t, serve(t, batched)))
		batch := []engine.Request{enginetest.Request(first), enginetest.Request("Short."), enginetest.Request("Another.")}
		results, err := e.Synthesize(t.Context(), batch)
		require.NoError(t, err)
		for _, r := range results {
			require.Equal(t, job.Engine, job.KindOf(r.Err), first)
			if want != nil {
				require.ErrorIs(t, r.Err, want)
			}
		}
	}
}

func TestLoudSamplesAreClipped(t *testing.T) {
	t.Parallel()
	r := speakOne(t, open(t, settings(t, serve(t))), enginetest.Request("LOUD is what this is."))
	require.NoError(t, r.Err)
	require.Equal(t, []int16{32767, -32767}, r.Audio.Samples[:2])
}

func TestSamplesMayComeAsNumbers(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t)))
	q := enginetest.Request("CONTENTS are what other servers send.")
	r := speakOne(t, e, q)
	enginetest.Good(t, e, q, r)
	require.Len(t, r.Audio.Samples, len(speech(q.Text)))
}

func TestSilenceIsForOthersToJudge(t *testing.T) {
	t.Parallel()
	require.NoError(t, speakOne(t, open(t, settings(t, serve(t))), enginetest.Request("SILENCE is what comes.")).Err)
}

func TestAModelWithoutBatchesGetsNoDimensionForThem(t *testing.T) {
	t.Parallel()
	s := serve(t, func(s *server) { s.maxBatch = 0 })
	q := enginetest.Request(enginetest.Sentence(2))
	enginetest.Good(t, open(t, settings(t, s)), q, speakOne(t, open(t, settings(t, s)), q))
	require.Equal(t, []int64{1}, s.seen()[0].GetInputs()[3].GetShape())
}

func TestWhatCannotBeSpokenIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, settings(t, s))
	q := enginetest.Request("… — !?")
	r := speakOne(t, e, q)
	enginetest.Good(t, e, q, r)
	require.Len(t, r.Audio.Samples, testRate/5)
	q = enginetest.Request("Faster!")
	q.Speed = 1.5
	r = speakOne(t, e, q)
	require.Equal(t, job.Invalid, job.KindOf(r.Err))
	require.Empty(t, r.Backend)
	require.ErrorContains(t, r.Err, "one speed")
	require.Empty(t, s.seen())
}

func TestCallerWhoLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]func(*server){"one answer": func(*server) {}, "a stream": decoupled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, kind)
			e := open(t, settings(t, s))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for len(s.seen()) == 0 {
					select {
					case <-ctx.Done():
					case <-time.After(time.Millisecond):
					}
				}
				cancel()
			}()
			_, err := e.Synthesize(ctx, []engine.Request{enginetest.Request("HANG on, this takes a while.")})
			require.ErrorIs(t, err, context.Canceled)
			require.Eventually(t, func() bool {
				var n int
				s.set(func() { n = s.inFlight })
				return n == 0
			}, 10*time.Second, time.Millisecond, "the server sees that the caller left")
			q := enginetest.Request("Still well.")
			enginetest.Good(t, e, q, speakOne(t, e, q))
		})
	}
}

func TestTimeoutGrowsWithWhatIsAsked(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{}.withDefaults()}
	asks := func(seconds ...float64) (all []ask) {
		for _, s := range seconds {
			all = append(all, ask{seconds: s})
		}
		return all
	}
	require.Equal(t, 15*time.Second, e.timeout(asks(1)))
	require.Equal(t, 65*time.Second, e.timeout(asks(10)))
	require.Equal(t, 80*time.Second, e.timeout(asks(10, 5, 10)))
}

func TestManyAtOnceShareAConnection(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, settings(t, s))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			q := enginetest.Request(enginetest.Sentence(i))
			r := speakOne(t, e, q)
			enginetest.Good(t, e, q, r)
		})
	}
	wg.Wait()
	s.set(func() { require.Len(t, s.conns, 1) })
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0}, int64(1), int64(1), "FP32")
	f.Add([]byte(strings.Repeat("\x00\x00\x80\x7f", 4)), int64(2), int64(2), "FP32")
	f.Fuzz(func(t *testing.T, raw []byte, a, b int64, datatype string) {
		r := &kserve.ModelInferResponse{
			Outputs: []*kserve.ModelInferResponse_InferOutputTensor{
				{Name: waveform, Datatype: datatype, Shape: []int64{a, b}}, {Name: waveformSize, Datatype: "INT32", Shape: []int64{a}},
			},
			RawOutputContents: [][]byte{raw, raw[:len(raw)/2]},
		}
		if samples, err := one(nil, r, 100); err == nil && len(samples) > 100 {
			t.Fatalf("%d samples", len(samples))
		}
		if all, err := several(r, 2, 100); err == nil && (len(all) != 2 || len(all[0]) > 100) {
			t.Fatalf("%d texts", len(all))
		}
	})
}
