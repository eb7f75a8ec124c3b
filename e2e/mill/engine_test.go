package mill_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/enginesim"
	"github.com/voicemill/voicemill/platform/wav"
)

const (
	rate     = 24000
	cps      = 15.2 // characters that an engine speaks in a second
	length   = 149  // characters of a sentence: ten seconds
	aChapter = 60   // sentences: ten minutes
	calls    = 32   // of the engine at once
)

// instant is an engine that has everything spoken already: of each length of text it
// makes the sound once.
type instant struct {
	mu     sync.Mutex
	sounds map[int][]byte // by the characters of a text; under mu
	texts  atomic.Int64   // that were asked for
}

func (e *instant) sound(text string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sounds[len(text)] == nil {
		floats := enginesim.Sound("mill", text, .2+float64(len(text))/cps, rate)
		samples := make([]int16, len(floats))
		for i, x := range floats {
			samples[i] = int16(x * 32767)
		}
		e.sounds[len(text)] = wav.Encode(rate, samples)
	}
	return e.sounds[len(text)]
}

// ServeHTTP answers as OpenAI's audio API does.
func (e *instant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Input string `json:"input"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.texts.Add(1)
	body := e.sound(q.Input)
	w.Header().Set("Content-Type", "audio/wav")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// startEngine serves an instant engine and returns the file of the pool that it is.
func startEngine(t *testing.T) (e *instant, pools string) {
	t.Helper()
	e = &instant{sounds: map[int][]byte{}}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return e, poolOf(t, s.URL, calls)
}

// poolOf writes the file of a pool with one backend that takes so many calls at once.
func poolOf(t *testing.T, backend string, calls int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pools.json")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `{"pools": [{"name": "mill", "engine": "openai-speech", "sample_rate": %d,
		"openai": {"backends": [%q], "model": "mill", "window": %d, "voices": {"mill": {"name": "mill", "language": "en"}}}}]}`, rate, backend, calls), 0o600))
	return path
}

// vocabulary is what the books are made of.
const vocabulary = `the of and a to in he was that it his her with as had for she not at but be on they have him which
said from all this one were by so there when them out been would more their what who if no up my into then me time could
house hand night long another light never morning found window between children water nothing evening machine listen`

// book writes a Markdown book of sentences of one length, a paragraph each, which no
// other title shares.
func book(title string, sentences int) []byte {
	rng := rand.New(rand.NewPCG(uint64(len(title)), 1)) //nolint:gosec // repeatable, not secret
	words := strings.Fields(vocabulary)
	var b strings.Builder
	for i := range sentences {
		if i%aChapter == 0 {
			fmt.Fprintf(&b, "# Chapter %d of %s\n\n", i/aChapter+1, title)
		}
		s := fmt.Sprintf("This is sentence %d of %s", i+1, title)
		for len(s) < length {
			s += " " + words[rng.IntN(len(words))]
		}
		fmt.Fprintf(&b, "%s.\n\n", s[:length-2]+"e")
	}
	return []byte(b.String())
}
