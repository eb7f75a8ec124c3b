package transcribe_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit/weightstest"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
	"github.com/voicemill/voicemill/worker/internal/recur"
)

const server = "../../../../deployments/engines/ear/serve.py"

// patience is how long a model may take with a text on a machine that has much else to do.
const patience = 10 * time.Minute

// realEar starts the server of deployments/engines/ear with Whisper base. end ends it and
// tells the CPU seconds that it took; the test does so, too.
func realEar(tb testing.TB, options ...string) (ear *transcribe.Ear, end func() (cpuSeconds float64)) {
	tb.Helper()
	models := weightstest.Need(tb, "joe", "whisper-base")
	model, err := models.Get("whisper-base")
	require.NoError(tb, err)
	python := filepath.Join(weightstest.Ear(tb), "bin", "python")
	p := exec.Command(python, append([]string{server, model.Dir, "--port", "0", "--with-parent"}, options...)...) //nolint:noctx,gosec // end ends it
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	require.NoError(tb, err)
	out, err := p.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, p.Start(), "run scripts/setup test")
	ended := false
	end = func() float64 {
		if !ended {
			ended = true
			_ = in.Close()
			require.NoError(tb, p.Wait())
		}
		return (p.ProcessState.UserTime() + p.ProcessState.SystemTime()).Seconds()
	}
	tb.Cleanup(func() { end() })
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(tb, err)
	ear, err = transcribe.New(transcribe.Config{Backend: strings.TrimSpace(address), Window: 1, MinTimeout: patience})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, ear.Close()) })
	return ear, end
}

// voice opens a neural voice.
func voice(tb testing.TB, name string) *neural.Engine {
	tb.Helper()
	path, err := filepath.Abs(helperPath)
	require.NoError(tb, err)
	e, err := neural.New(tb.Context(), neural.Config{Models: weightstest.Need(tb, name), Model: name, Helper: path, Helpers: 1, MinTimeout: patience})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Close()) })
	return e
}

func say(tb testing.TB, e *neural.Engine, q engine.Request) engine.Audio {
	tb.Helper()
	results, err := e.Synthesize(tb.Context(), []engine.Request{q})
	require.NoError(tb, err)
	require.NoError(tb, results[0].Err)
	return results[0].Audio
}

// hearing is what the ear has to say of a piece of audio.
type hearing struct {
	sound listen.Sound
	words []listen.Span
	audio engine.Audio
}

// hear has the ear hear audio, unless it is silent.
func hear(tb testing.TB, ear *transcribe.Ear, audio engine.Audio) hearing {
	tb.Helper()
	h := hearing{sound: listen.NewSound(audio.Samples, audio.Rate), audio: audio}
	if h.sound.Seconds() > 0 {
		heard, err := ear.Hear(tb.Context(), audio, "en")
		require.NoError(tb, err)
		h.words = h.sound.Audible(heard.Words)
	}
	return h
}

// text returns the words.
func (h hearing) text() string {
	spoken := make([]string, len(h.words))
	for i, w := range h.words {
		spoken[i] = w.Text
	}
	return strings.Join(spoken, " ")
}

// evidence holds h against the text that should have been spoken; pardoned may be nil.
func (h hearing) evidence(text string, pardoned func(string) bool) listen.Evidence {
	return listen.Evidence{
		Report:  listen.Compare(listen.Tokens("en", text), listen.Tokens("en", h.text()), pardoned),
		Seconds: h.sound.Seconds(), Unheard: h.sound.Unheard(h.words),
		Twice: recur.Twice(h.audio.Samples, h.audio.Rate, text),
	}
}

// TestTheEarHearsANeuralVoice has real models speak and listen.
func TestTheEarHearsANeuralVoice(t *testing.T) {
	ear, _ := realEar(t)
	joe := voice(t, "joe")
	const text = "The harbour was quiet that morning, and in 1815 nobody had seen the boat. She counted the steps up to the lighthouse twice before she spoke."
	audio := say(t, joe, enginetest.Request(text))
	limits := listen.DefaultLimits()
	clean := hear(t, ear, audio).evidence(text, nil)
	require.Equalf(t, listen.None, limits.Judge(clean, 0).Fault, "%+v", clean)
	require.LessOrEqual(t, clean.WER(), .12)

	n := len(audio.Samples)
	cut := engine.Audio{Rate: audio.Rate, Samples: audio.Samples[:n*6/10]}
	require.Equal(t, listen.Missing, limits.Judge(hear(t, ear, cut).evidence(text, nil), 0).Fault)
	// Twice what is in the middle: the samples, and another saying of them.
	require.Less(t, clean.Twice, limits.Twice/2)
	q := enginetest.Request(text)
	q.Speed, q.Seed = 1.06, 7
	other := quieter(say(t, joe, q).Samples)
	m := len(other)
	for _, again := range [][]int16{audio.Samples[n*4/10 : n*7/10], other[m*4/10 : m*7/10]} {
		doubled := engine.Audio{Rate: audio.Rate, Samples: slices.Concat(audio.Samples[:n*7/10], again, audio.Samples[n*7/10:])}
		e := hear(t, ear, doubled).evidence(text, nil)
		require.Greater(t, e.Twice, limits.Twice)
		require.NotEqual(t, listen.None, limits.Judge(e, 0).Fault)
	}
	silent := engine.Audio{Rate: audio.Rate, Samples: make([]int16, n)}
	require.Equal(t, listen.Missing, limits.Judge(hear(t, ear, silent).evidence(text, nil), 0).Fault)
}
