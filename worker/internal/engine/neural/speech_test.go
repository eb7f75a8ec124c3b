package neural_test

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
)

func one(t *testing.T, e *neural.Engine, q engine.Request) engine.Result {
	t.Helper()
	results, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

// TestSpeech asks one helper for all that a model does with a request.
func TestSpeech(t *testing.T) {
	e := open(t, neural.Config{Helpers: 1})
	say := func(t *testing.T, q engine.Request) engine.Result {
		t.Helper()
		r := one(t, e, q)
		enginetest.Good(t, e, q, r)
		return r
	}
	t.Run("it sounds like speech", func(t *testing.T) {
		r := say(t, enginetest.Request("The harbour was quiet. Nobody had seen the boat."))
		seconds, loud := r.Audio.Seconds(), 0.0
		require.InDelta(t, 3, seconds, 1.2)
		for _, s := range r.Audio.Samples {
			loud += float64(s) * float64(s)
		}
		level := 20 * math.Log10(math.Sqrt(loud/float64(len(r.Audio.Samples)))/32768)
		require.InDelta(t, -22, level, 8, "dBFS")
		require.True(t, r.Placed)
		require.Len(t, r.Sentences, 2)
		require.InDelta(t, seconds/2, float64(r.Sentences[1].Sample)/float64(r.Audio.Rate), seconds/4)
		require.Len(t, r.Words, 9)
	})
	t.Run("speed is obeyed", func(t *testing.T) {
		q := enginetest.Request("She counted the steps up to the lighthouse.")
		normal := say(t, q).Audio.Seconds()
		q.Speed = 2
		require.InDelta(t, normal/2, say(t, q).Audio.Seconds(), normal/6)
	})
	t.Run("a pronunciation is heard", func(t *testing.T) {
		q := enginetest.Request("Ask Siobhan about it.")
		plain := say(t, q)
		q.Pronunciations = []engine.Pronunciation{{Start: 4, End: 11, Alphabet: "ipa", Phonemes: "ʃɪˈvɔːn"}}
		require.False(t, slices.Equal(plain.Audio.Samples, say(t, q).Audio.Samples))
	})
	t.Run("nothing to say is silence, and something unsayable a failure of nobody's", func(t *testing.T) {
		q := enginetest.Request("—!")
		require.InDelta(t, 0.2, say(t, q).Audio.Seconds(), .01)
	})
	t.Run("a long sentence is said in parts", func(t *testing.T) {
		q := enginetest.Request(strings.TrimSpace(strings.Repeat("and the rain went on and on over the hills ", 16)))
		require.Greater(t, say(t, q).Audio.Seconds(), 25.0)
	})
	t.Run("a helper killed while idle is replaced unnoticed", func(t *testing.T) {
		q := enginetest.Request("Are you there?")
		first := say(t, q)
		pid, err := strconv.Atoi(strings.TrimPrefix(first.Backend, "pid "))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		e.WaitForExit()
		second := say(t, q)
		require.NotEqual(t, first.Backend, second.Backend)
		require.Equal(t, first.Audio, second.Audio)
	})
	t.Run("voices say whose they are", func(t *testing.T) {
		v := e.Info().Voices[0]
		require.Contains(t, v.Licence, "CC0")
		require.Contains(t, v.Attribution, "Piper")
	})
}

// copyOf returns a store with copies of the models, to be damaged.
func copyOf(t *testing.T, names ...string) weights.Store {
	t.Helper()
	from, to := weightstest.Need(t, names...), t.TempDir()
	for _, name := range append([]string{weights.Library}, names...) {
		m, err := from.Get(name)
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(to, name), 0o700))
		files, err := os.ReadDir(m.Dir)
		require.NoError(t, err)
		for _, f := range files {
			in, err := os.Open(m.Path(f.Name()))
			require.NoError(t, err)
			out, err := os.Create(filepath.Join(to, name, f.Name()))
			require.NoError(t, err)
			_, err = io.Copy(out, in)
			require.NoError(t, err)
			require.NoError(t, in.Close())
			require.NoError(t, out.Close())
		}
	}
	return weights.Open(to)
}

func TestAModelThatCannotBeUsedIsNamedWithItsCure(t *testing.T) {
	s := copyOf(t, "joe")
	model := filepath.Join(s.Dir(), "joe", "model.onnx")
	whole, err := os.ReadFile(model)
	require.NoError(t, err)
	library := filepath.Join(s.Dir(), weights.Library)
	for _, c := range []struct {
		name   string
		damage func() error
		said   string
	}{
		{"damaged", func() error { return os.WriteFile(model, append([]byte("x"), whole[1:]...), 0o600) }, model + " is damaged; mend it with: voicemill models install joe"},
		{"cut", func() error { return os.WriteFile(model, whole[:1000], 0o600) }, model + " is damaged; mend it with: voicemill models install joe"},
		{"missing", func() error { return os.Remove(model) }, model + " is missing; mend it with: voicemill models install joe"},
		{"no library", func() error { return errors.Join(os.WriteFile(model, whole, 0o600), os.RemoveAll(library)) }, "install it with: voicemill models install sherpa-onnx"},
		{"not installed", func() error { return os.RemoveAll(filepath.Dir(model)) }, "install it with: voicemill models install joe"},
	} {
		require.NoError(t, c.damage(), c.name)
		_, err := neural.New(t.Context(), neural.Config{Models: s, Model: "joe", Helper: helperPath})
		require.ErrorContains(t, err, c.said, c.name)
	}
	_, err = neural.New(t.Context(), neural.Config{Models: s, Model: "joe", Helper: "/nonexistent"})
	require.ErrorContains(t, err, "go build -o bin/ ./worker/cmd/voicemill-neural")
	require.Equal(t, job.Unavailable, job.KindOf(err))
}
